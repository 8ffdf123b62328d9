import type { Request, Write } from './ledger.ts'

/** A contact as it is in the database in the end. */
export interface StoredContact {
  value: string
  version: number
  /** Whether it can be found by its value: contacts and what they are found by are written together. */
  isFound: boolean
}

export const kindsOfFault = ['lost', 'doubled', 'half', 'ghost', 'unanswered', 'unclear'] as const
export type KindOfFault = (typeof kindsOfFault)[number]

/** Each kind with a sentence for every case of it. */
export type Findings = Record<KindOfFault, string[]>

export interface Evidence {
  writes: readonly Write[]
  stored: readonly StoredContact[]
  requests: readonly Request[]
  /** How many milliseconds a request may take. */
  answerMs: number
}

/**
 * Compares what callers were told with what is there.
 *
 * - lost: it was acknowledged, and is not there, or was undone
 * - doubled: it was done more than once
 * - half: a part of a change is there, and a part is not
 * - ghost: it is there, though nobody asked for it, or its caller was told that nothing was done
 * - unanswered: a request got no answer in its time
 * - unclear: an answer has none of the documented forms
 */
export function check({ writes, stored, requests, answerMs }: Evidence): Findings {
  const findings: Findings = { lost: [], doubled: [], half: [], ghost: [], unanswered: [], unclear: [] }
  const rows = Map.groupBy(stored, ({ value }) => value)
  const takers = takersOf(writes)
  const isThere = (value: string) => rows.has(value)
  const isTakenBy = (value: string, write: Write) => takers.get(value) === write

  /** Whether an effect of a write shows; undefined where a later write has, or may have, covered it. */
  const shows = {
    added: (value: string) => isThere(value) || (takers.has(value) ? undefined : false),
    taken: (value: string, write: Write) => (isThere(value) ? false : isTakenBy(value, write) || undefined),
  }
  for (const write of writes) {
    const effects = [
      ...write.adds.map((value) => shows.added(value)),
      ...write.takes.map((value) => shows.taken(value, write)),
    ]
    const name = [...write.adds, ...write.takes.map((value) => `not ${value}`)].join(' and ')
    const isHalf = effects.includes(true) && effects.includes(false)
    if (isHalf) findings.half.push(`a part of ${name} is there (${write.outcome})`)
    if (write.outcome === 'acknowledged' && effects.includes(false)) {
      findings.lost.push(`${name} was acknowledged, and is not there`)
    }
    if (write.outcome === 'refused' && effects.includes(true) && write.adds.length > 0) {
      findings.ghost.push(`${name} was refused, and is there`)
    }
    const [first] = write.adds
    const row = first === undefined ? undefined : rows.get(first)?.[0]
    if (row && write.outcome === 'acknowledged' && write.version !== undefined && row.version !== write.version) {
      const kind = row.version > write.version ? 'doubled' : 'lost'
      findings[kind].push(`${name} was acknowledged as version ${write.version}, and is version ${row.version}`)
    }
  }
  const sent = new Set(writes.flatMap(({ adds }) => adds))
  for (const [value, contacts] of rows) {
    if (contacts.length > 1) findings.doubled.push(`${value} is there ${contacts.length} times`)
    if (contacts.some(({ isFound }) => !isFound)) findings.half.push(`${value} cannot be found by its value`)
    if (!sent.has(value)) findings.ghost.push(`${value} is there, and nobody asked for it`)
  }
  for (const { ms, isAnswered, unclear } of requests) {
    if (!isAnswered) findings.unanswered.push(`a request got no answer in ${Math.round(ms)} ms`)
    else if (ms > answerMs) findings.unanswered.push(`an answer took ${Math.round(ms)} ms`)
    if (unclear !== undefined) findings.unclear.push(unclear)
  }
  return findings
}

/** Who has, or may have, taken a value away. A writer leaves a contact alone once it cannot tell what it is. */
function takersOf(writes: readonly Write[]): Map<string, Write> {
  const takers = new Map<string, Write>()
  for (const write of writes) {
    if (write.outcome === 'refused') continue
    for (const value of write.takes) takers.set(value, write)
  }
  return takers
}
