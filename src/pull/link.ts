/**
 * The targets of a `Link` header by their relation (RFC 8288), as they are written: `<…>; rel="next"`, any number of them,
 * with any parameters in any order. Of several with one relation the first counts. What cannot be read is passed over.
 */
export function readLinks(header: string): Map<string, string> {
  const targets = new Map<string, string>()
  const scanner = new Scanner(header)
  while (!scanner.isAtEnd) {
    scanner.skip(separators)
    const target = scanner.take(/<([^>]*)>/y)
    if (target === undefined) {
      scanner.take(/[^,]+/y)
      continue
    }
    for (const relation of readRelations(scanner)) {
      if (!targets.has(relation)) targets.set(relation, target.trim())
    }
  }
  return targets
}

const separators = /[\s,]+/y

/** The first `rel` counts, by the RFC. */
function readRelations(scanner: Scanner): string[] {
  let relations: string[] | undefined
  for (;;) {
    scanner.skip(/\s+/y)
    if (scanner.take(/(;)/y) === undefined) return relations ?? []
    scanner.skip(/[\s;]+/y)
    const name = scanner.take(/([^\s=;,"]+)/y)?.toLowerCase()
    scanner.skip(/\s+/y)
    if (scanner.take(/(=)/y) === undefined) continue
    scanner.skip(/\s+/y)
    const quoted = scanner.take(/"((?:[^"\\]|\\.)*)"/y)
    const value = quoted === undefined ? scanner.take(/([^\s;,"]*)/y) : quoted.replaceAll(/\\(.)/g, '$1')
    if (name === 'rel') relations ??= (value ?? '').toLowerCase().split(/\s+/).filter(Boolean)
  }
}

class Scanner {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length
  }

  /** What the first group of a sticky pattern matches here; goes on behind the match. */
  take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const match = pattern.exec(this.#text)
    if (!match) return undefined
    this.#at += match[0].length
    return match[1] ?? match[0]
  }

  skip(pattern: RegExp): void {
    this.take(pattern)
  }
}
