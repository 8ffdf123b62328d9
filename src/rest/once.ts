import type { Once } from '../domain/context.ts'
import { faultOfKey, onceFor } from '../domain/once.ts'
import { quote } from '../domain/parse.ts'
import type { RequestHeaders } from '../http/message.ts'
import { RestError } from './errors.ts'

export const keyHeader = 'Idempotency-Key'

/** The mark of a write that is sent with a key, from the header and from all that is asked for; undefined without it. */
export function readOnce(headers: RequestHeaders, asked: unknown): Once | undefined {
  const given = headers.get(keyHeader.toLowerCase())?.trim()
  if (given === undefined) return undefined
  const key = given.startsWith('"') ? unquoted(given) : given
  const fault = faultOfKey(keyHeader, key ?? given)
  if (fault) throw refusal(fault.message)
  if (key === undefined)
    throw refusal(`${keyHeader} begins with a quotation mark, but is no quoted string: ${quote(given)}`)
  return onceFor(key, asked)
}

const refusal = (message: string) => new RestError(400, { message: message.replace(/\.$/, '') })

/** What is in a quoted string, as RFC 8941 writes one and the draft of the header wants it. Many send the key bare. */
const unquoted = (given: string) => /^"((?:[^"\\]|\\["\\])*)"$/.exec(given)?.[1]?.replace(/\\(.)/g, '$1')
