import { InvalidArgumentError } from 'commander'

/** Date.parse reads a year out of nearly any text. */
const form = /^(\d{4}-\d\d-\d\d)(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d))?$/

/** An instant, or a date for its beginning in UTC; undefined where there is none. Its year has four digits. */
export function readInstant(text: string): Date | undefined {
  const [, date] = form.exec(text) ?? []
  if (date === undefined) return undefined
  const at = new Date(text)
  // February 30 would be taken for a day in March.
  const isDay = new Date(`${date}T00:00Z`).getUTCDate() === Number(date.slice(8))
  const year = at.getUTCFullYear()
  return isDay && year >= 1 && year <= 9999 ? at : undefined
}

/** The same as the value of an option. */
export function parseInstant(text: string): Date {
  const at = readInstant(text)
  if (!at) throw new InvalidArgumentError('It must be a date such as 2026-01-31, or an instant: 2026-01-31T12:00:00Z.')
  return at
}
