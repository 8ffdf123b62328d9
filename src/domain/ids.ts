import { z } from 'zod'
import type { ObjectKind } from './errors.ts'
import { quote, report } from './parse.ts'

const separator = ':'
const kinds: readonly string[] = ['Organization', 'Contact'] satisfies ObjectKind[]

/** The global id of an object: opaque to clients, the same for as long as the object exists, safe in a URL. */
export function encodeId(kind: ObjectKind, id: number): string {
  return Buffer.from(`${kind}${separator}${id}`).toString('base64url')
}

/** Reads a global id back; undefined for anything that `encodeId` does not make. */
export function decodeId(globalId: string): { kind: ObjectKind; id: number } | undefined {
  const [kind = '', digits = ''] = Buffer.from(globalId, 'base64url').toString('latin1').split(separator, 2)
  const id = readInteger(digits)
  if (id === undefined || !kinds.includes(kind)) return undefined
  return encodeId(kind as ObjectKind, id) === globalId ? { kind: kind as ObjectKind, id } : undefined
}

/** An id argument: a global id of the kind, or the plain integer of the REST API. */
export function idOf(kind: ObjectKind, subject = `${kind} id`) {
  return z
    .union([z.string(), z.number()], {
      error: ({ input }) =>
        input === undefined || input === null
          ? `${subject} can't be blank.`
          : `${subject} must be a text or an integer.`,
    })
    .transform((given, context) => {
      const id = readInteger(String(given))
      if (id !== undefined) return id
      const named = decodeId(String(given))
      if (named?.kind === kind) return named.id
      report(context, 'INVALID_ID', `${subject} ${refusal(String(given), named?.kind)}`)
      return z.NEVER
    })
}

/** The id of an object whose kind is not known beforehand: global ids only. */
export const globalId = z.string({ error: 'The id must be a text.' }).transform((given, context) => {
  const named = decodeId(given)
  if (named) return named
  report(context, 'INVALID_ID', `${quote(given)} is not a global id; plain integers name no type here.`)
  return z.NEVER
})

function readInteger(digits: string): number | undefined {
  if (!/^[1-9]\d{0,15}$/.test(digits)) return undefined
  const id = Number(digits)
  return Number.isSafeInteger(id) ? id : undefined
}

function refusal(given: string, otherKind: ObjectKind | undefined): string {
  if (otherKind) return `${quote(given)} is the id of an object of type ${otherKind}.`
  if (/^[1-9]\d{15,}$/.test(given))
    return `${quote(given)} is above ${Number.MAX_SAFE_INTEGER}, the largest id there can be.`
  return `${quote(given)} is neither a global id nor a positive integer.`
}
