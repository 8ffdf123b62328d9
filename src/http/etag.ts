import { hash } from 'node:crypto'

/** The weak tag of what is shown to callers: another text, another tag. */
export const weakTagOf = (text: string) => `W/"${hash('sha256', text, 'base64url').slice(0, 22)}"`

/** Whether If-None-Match names the tag, by the weak comparison that it wants. */
export function isMatch(ifNoneMatch: string | null, tag: string): boolean {
  if (ifNoneMatch === null) return false
  const opaque = (value: string) => value.trim().replace(/^W\//, '')
  return ifNoneMatch.trim() === '*' || ifNoneMatch.split(',').some((value) => opaque(value) === opaque(tag))
}
