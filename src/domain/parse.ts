import { z } from 'zod'
import { type Issue, type IssueCode, ValidationError } from './errors.ts'

/** Parses the input of a verb, or throws a ValidationError with every issue found. */
export function parse<Schema extends z.ZodType>(schema: Schema, input: unknown): z.output<Schema> {
  const result = schema.safeParse(input)
  if (result.success) return result.data
  throw new ValidationError(toIssues(result.error.issues, input))
}

/** What is wrong with an input; nothing where it can be parsed. */
export function issuesOf(schema: z.ZodType, input: unknown): Issue[] {
  const result = schema.safeParse(input)
  return result.success ? [] : toIssues(result.error.issues, input)
}

export function toIssues(zodIssues: readonly z.core.$ZodIssue[], input: unknown): Issue[] {
  return zodIssues.map((issue) => ({
    path: issue.path.map(String),
    code: codeOf(issue, input),
    message: issue.message,
  }))
}

function codeOf(issue: z.core.$ZodIssue, input: unknown): IssueCode {
  if (issue.code === 'custom') return issue.params?.code ?? 'INVALID_FORMAT'
  const given = issue.path.reduce((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], input)
  if (given === undefined || given === null) return 'REQUIRED'
  return issue.code === 'invalid_value' ? 'NOT_ALLOWED' : 'INVALID_TYPE'
}

/** Reports an issue from within a Zod transform or refinement. */
export function report(context: z.core.$RefinementCtx, code: IssueCode, message: string, path: PropertyKey[] = []) {
  context.addIssue({ code: 'custom', params: { code }, message, path, input: context.value })
}

const longestQuote = 40

/** What a message repeats of an input: texts cut where they are long, lists and objects by their kind alone. */
export function quote(given: unknown): string {
  if (Array.isArray(given)) return 'that is a list'
  if (typeof given === 'object' && given !== null) return 'that is an object'
  if (typeof given !== 'string') return String(given)
  return JSON.stringify(given.length > longestQuote ? `${given.slice(0, longestQuote)}…` : given)
}

const control = /\p{Cc}/u
/** Nothing to see: only spaces, separators, format and other invisible characters, and the empty Braille pattern. */
export const invisible = /^[\p{Z}\p{C}\p{Default_Ignorable_Code_Point}\u2800]*$/u

/**
 * A line of text: trimmed, visible, at most `max` code points, free of control characters. `check` may refuse what is
 * left, with the end of a sentence that begins with the subject.
 */
export function line(subject: string, max: number, check: (text: string) => string | undefined = () => undefined) {
  return (
    z
      .string({
        error: ({ input }) => (input === undefined || input === null ? blank(subject) : `${subject} must be a text.`),
      })
      // Told by the OpenAPI document; the limits themselves are held below, in code points of the trimmed text.
      .meta({ minLength: 1, maxLength: max })
      .transform((raw, context) => {
        const text = raw.trim()
        const isWellFormed = text.isWellFormed()
        if (!isWellFormed) report(context, 'INVALID_CHARACTER', `${subject} holds half of a surrogate pair.`)
        if (isWellFormed && invisible.test(text)) report(context, 'BLANK', blank(subject))
        else {
          const length = countCodePoints(text)
          if (length > max) {
            report(context, 'TOO_LONG', `${subject} is too long: ${length} characters, at most ${max} are allowed.`)
          }
          const found = control.exec(text)
          if (found) report(context, 'INVALID_CHARACTER', `${subject} holds the control character ${nameOf(found[0])}.`)
          const refusal = check(text)
          if (refusal) report(context, 'INVALID_FORMAT', `${subject} ${refusal}`)
        }
        return text
      })
  )
}

/** A text to look for. What no row can hold stays without a match: PostgreSQL would refuse to look for it. */
export const storableText = z.string().transform((text) => text.replaceAll('\0', '\u{fffd}').toWellFormed())

const blank = (subject: string) => `${subject} can't be blank.`
const nameOf = (character: string) => `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`

/** What PostgreSQL's char_length counts: neither UTF-16 units nor bytes. */
export function countCodePoints(text: string): number {
  let count = 0
  for (const _ of text) count++
  return count
}

export function flag(subject: string) {
  return z.boolean({ error: `${subject} must be true or false.` })
}

const words: Record<string, boolean> = Object.fromEntries([
  ...['1', 'T', 'Y', 'TRUE', 'YES', 'ON'].map((word) => [word, true]),
  ...['0', 'F', 'N', 'FALSE', 'NO', 'OFF'].map((word) => [word, false]),
])

/** Reads the words that the vendor takes for a boolean as well. What is none is left for the rule to refuse. */
export const readFlag = (given: unknown): unknown =>
  typeof given === 'string' ? (words[given.trim().toUpperCase()] ?? given) : given

/** An instant as a driver gives it, or as text where it comes from a JSON document of the database. */
export const instant = (given: Date | string): Date => (typeof given === 'string' ? new Date(given) : given)

/** A version that the caller has read and expects to find again. */
export const expectedVersion = z
  .number({ error: 'The expected version must be an integer.' })
  .transform((version, context) => {
    if (!Number.isInteger(version) || version < 1 || version > 2 ** 31 - 1) {
      report(context, 'OUT_OF_RANGE', `The expected version is ${version}; versions are integers from 1 to 2147483647.`)
    }
    return version
  })
  .nullish()
  .transform((version) => version ?? null)
