import type { Operation } from './checker.ts'
import { type Call, emptyState, judge, perform, type State } from './model.ts'

/**
 * Whether a history is linearizable, by trying everything: every order, every operation of unknown outcome anywhere or
 * nowhere, every id for what it adds. For a handful of operations only; the checker is held to it.
 */
export function isLinearizable(operations: readonly Operation[]): boolean {
  const told = idsIn(operations)
  const attempt = (state: State, left: readonly Operation[], usedIds: ReadonlySet<number>): boolean => {
    if (left.every(({ answer }) => answer === null)) return true
    return left.some((operation) => {
      const others = left.filter((other) => other !== operation)
      const mustWait = others.some(({ completed }) => completed !== null && completed < operation.invoked)
      if (mustWait) return false
      return outcomesOf(state, operation, usedIds, told).some(({ next, newIds }) =>
        attempt(next, others, new Set([...usedIds, ...newIds])),
      )
    })
  }
  return attempt(emptyState, operations, new Set())
}

interface Outcome {
  next: State
  newIds: number[]
}

function outcomesOf(
  state: State,
  { call, answer }: Operation,
  usedIds: ReadonlySet<number>,
  told: number[],
): Outcome[] {
  if (answer) {
    const newIds = answer.kind === 'changed' ? answer.added.map(({ id }) => id) : []
    if (newIds.some((id) => usedIds.has(id)) || new Set(newIds).size < newIds.length) return []
    const judgement = judge(state, call, answer, newIds, () => false)
    return 'next' in judgement ? [{ next: judgement.next, newIds }] : []
  }
  if (call.kind === 'clear') return [{ next: emptyState, newIds: [] }]
  if (call.kind === 'list') return []
  // An id that nobody was told is as good as another.
  const free = [...told.filter((id) => !usedIds.has(id)), ...call.add.map((_, i) => 1_000_000 + usedIds.size + i)]
  return choices(free, call.add.length).flatMap((newIds) => outcomeOf(state, call, newIds))
}

function outcomeOf(state: State, call: Call & { kind: 'change' }, newIds: number[]): Outcome[] {
  const performed = perform(state, call, newIds)
  return 'next' in performed ? [{ next: performed.next, newIds }] : []
}

/** Every choice of so many different ones, in every order. */
function choices(from: readonly number[], count: number): number[][] {
  if (count === 0) return [[]]
  return from.flatMap((one) =>
    choices(
      from.filter((other) => other !== one),
      count - 1,
    ).map((more) => [one, ...more]),
  )
}

function idsIn(operations: readonly Operation[]): number[] {
  const ids = operations.flatMap(({ answer }) => {
    if (answer?.kind === 'listed') return answer.contacts.map(({ id }) => id)
    if (answer?.kind === 'cleared') return answer.ids
    return answer?.kind === 'changed' ? [...answer.added, ...answer.updated].map(({ id }) => id) : []
  })
  return [...new Set(ids)]
}
