/** What became of a change, as far as its caller was told. */
export type Outcome =
  | 'acknowledged'
  /** It was told, or is certain, that nothing was done. */
  | 'refused'
  /** It may have been done or not. */
  | 'unknown'

/** One change that a writer has asked for, however often. In the end all of it is there, or nothing. */
export interface Write {
  /** Values that it adds. */
  adds: readonly string[]
  /** Values that it takes away: of a contact that it removes, or changes to another value. */
  takes: readonly string[]
  outcome: Outcome
  /** The version of the contacts that it added, where the answer told. */
  version?: number | undefined
}

/** One request, with what there is to say about its answer. */
export interface Request {
  /** Until its answer, or until its caller gave up. */
  ms: number
  /** Whether its caller was told anything: an answer, or the end of the connection. */
  isAnswered: boolean
  /** What is wrong with the form of the answer. */
  unclear?: string | undefined
}

/** The attempts at one change, taken together: what one may have done is in doubt until another is acknowledged. */
export function combine(before: Outcome | undefined, next: Outcome): Outcome {
  if (before === 'acknowledged' || next === 'acknowledged') return 'acknowledged'
  return before === 'unknown' ? 'unknown' : next
}
