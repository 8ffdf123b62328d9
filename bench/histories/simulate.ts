import { randomFrom } from '../../test/support/random-document.ts'
import type { Operation } from './checker.ts'
import { createChooser, learn, newKnowledge } from './choose.ts'
import { type Answer, type Call, emptyState, inListOrder, perform, type State } from './model.ts'

export interface SimulationOptions {
  seed: number
  clients: number
  operations: number
  /** The share of operations whose answer is lost: half of them take effect, some of those long after. */
  lost?: number
}

interface Event {
  at: number
  run: () => void
}

/** A history of clients of an organization that keeps its contract, without any organization. */
export function simulate({ seed, clients, operations: count, lost = 0 }: SimulationOptions): Operation[] {
  const random = randomFrom(seed)
  const operations: Operation[] = []
  const known = newKnowledge()
  const events: Event[] = []
  let now = 0
  const after = (ms: number, run: () => void) => events.push({ at: now + ms, run })
  let state: State = emptyState
  let lastId = 1000

  const happen = (call: Call): Answer => {
    const done = execute(state, call, () => {
      lastId += 1
      return lastId
    })
    state = done.next
    return done.answer
  }
  const startClient = (client: number) => {
    const choose = createChooser(random, `c${client}`)
    const goOn = () => after(random() * 5, next)
    const next = () => {
      if (operations.length >= count) return
      const call = choose(known)
      const operation: Operation = { client, invoked: now, completed: null, call, answer: null }
      operations.push(operation)
      if (random() < lost) {
        const delay = random() < 0.7 ? 5 : 200
        if (random() < 0.5) after(random() * delay, () => happen(call))
        return goOn()
      }
      after(random() * 10, () => {
        const answer = happen(call)
        after(random() * 10, () => {
          Object.assign(operation, { completed: now, answer })
          learn(known, call, answer)
          goOn()
        })
      })
    }
    goOn()
  }
  for (let client = 1; client <= clients; client += 1) startClient(client)
  while (events.length > 0) {
    events.sort((a, b) => b.at - a.at)
    const event = events.pop()!
    now = event.at
    event.run()
  }
  return operations
}

/** Executes a call as the contract has it, and tells the first of the faults where there are several. */
export function execute(state: State, call: Call, newId: () => number): { next: State; answer: Answer } {
  if (call.kind === 'list') return { next: state, answer: { kind: 'listed', contacts: inListOrder(state) } }
  if (call.kind === 'clear') {
    return { next: emptyState, answer: { kind: 'cleared', ids: inListOrder(state).map(({ id }) => id) } }
  }
  const newIds = call.add.map(newId)
  const performed = perform(state, call, newIds)
  if ('refusals' in performed) return { next: state, answer: performed.refusals[0]! }
  const { next, updated } = performed
  const added = newIds.map((id) => next.get(id)!)
  return { next, answer: { kind: 'changed', added, updated, removedIds: call.remove.map(({ id }) => id) } }
}
