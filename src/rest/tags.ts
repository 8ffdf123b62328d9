/** The strong tag of a contact. */
export const tagOf = (version: number) => `"v${version}"`

const largestVersion = 2 ** 31 - 1

/**
 * The versions that If-Match takes, which are none where it names other tags alone; null where any will do. A weak tag
 * names no version: it says nothing of the whole contact.
 */
export function versionsIn(ifMatch: string | null): number[] | null {
  const given = ifMatch?.trim()
  if (!given || given === '*') return null
  const tags = given.split(',').map((tag) => /^"v([1-9]\d{0,9})"$/.exec(tag.trim())?.[1])
  return tags
    .flatMap((version) => version ?? [])
    .map(Number)
    .filter((version) => version <= largestVersion)
}
