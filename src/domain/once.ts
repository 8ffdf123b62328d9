import { createHash } from 'node:crypto'
import { maxLength } from '../db/tables.ts'
import type { Once } from './context.ts'
import type { IssueCode } from './errors.ts'
import { quote } from './parse.ts'

/** What a key that clients choose is made of, told by every door. */
export const keyDescription = `1 to ${maxLength.idempotencyKey} visible ASCII characters without spaces`

/** What is wrong with a key; undefined for one that can be used. The sentence begins with the subject. */
export function faultOfKey(subject: string, key: string): { code: IssueCode; message: string } | undefined {
  const fault = (code: IssueCode, actual: string) => ({
    code,
    message: `${subject} must be ${keyDescription}: ${actual}.`,
  })
  if (key === '') return fault('BLANK', 'it is empty')
  if (!/^[!-~]*$/.test(key)) return fault('INVALID_CHARACTER', `it is ${quote(key)}`)
  if (key.length > maxLength.idempotencyKey) return fault('TOO_LONG', `it has ${key.length}`)
  return undefined
}

/** The mark of a write that is to have one effect, from its key and from all that it asks for, as JSON has it. */
export function onceFor(key: string, asked: unknown): Once {
  return { key, fingerprint: createHash('sha256').update(canonicalJson(asked)).digest('hex') }
}

/**
 * A JSON value as text, the keys of its objects in order, so that what means the same is the same. It does not call itself:
 * a body may be nested deeper than the stack goes.
 */
export function canonicalJson(value: unknown): string {
  let text = ''
  /** What is still to be written, the next at the end: values, and the texts between them. */
  const waiting: ({ value: unknown } | string)[] = [{ value }]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (typeof next === 'string') text += next
    else if (typeof next.value !== 'object' || next.value === null) text += JSON.stringify(next.value)
    else {
      const isList = Array.isArray(next.value)
      const parts = Object.entries(next.value)
      if (!isList) parts.sort(([a], [b]) => (a < b ? -1 : 1))
      waiting.push(isList ? ']' : '}')
      for (const [i, [name, part]] of [...parts.entries()].reverse()) {
        waiting.push({ value: part }, `${i > 0 ? ',' : ''}${isList ? '' : `${JSON.stringify(name)}:`}`)
      }
      waiting.push(isList ? '[' : '{')
    }
  }
  return text
}
