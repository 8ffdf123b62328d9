import {
  type Answer,
  type Call,
  type ChangeCall,
  type Contact,
  emptyState,
  inListOrder,
  isSameContact,
  type Judgement,
  judge,
  perform,
  type State,
  showContact,
} from './model.ts'

// Whether a history is linearizable: whether its operations can be put in one order, each of them between its invocation
// and its completion, in which every answer is what the model gives. The search is the one of Wing and Gong, with what
// Lowe added to it: a state that was reached by the same operations before is not looked at again.

/** One operation of one client. Times are in milliseconds, by one clock for all clients. */
export interface Operation {
  client: number
  invoked: number
  /** Null where no clear answer came: the operation may take effect at any time after its invocation, or never. */
  completed: number | null
  call: Call
  /** Null exactly where `completed` is. */
  answer: Answer | null
}

export type Verdict = 'linearizable' | 'not linearizable' | 'undecided'

export interface CheckResult {
  verdict: Verdict
  /** How many states were looked at. */
  steps: number
  /** All operations that took effect, in an order that explains every answer; of the longest attempt where none does. */
  order: number[]
  /** What is wrong, to be read by people; empty where nothing is. */
  report: string
}

export interface CheckOptions {
  /** Gives up, undecided, after so many states. */
  maxSteps?: number
}

const defaultMaxSteps = 500_000

/**
 * Checks the history of one organization, which is empty at first. The values that are added must differ from each other:
 * by its value a contact is recognized whose add was never answered.
 */
export function checkHistory(operations: readonly Operation[], options: CheckOptions = {}): CheckResult {
  const history = prepare(operations)
  const search = createSearch(history)
  const maxSteps = options.maxSteps ?? defaultMaxSteps

  const start: Node = { parent: undefined, placed: [], state: emptyState, next: 0, ahead: [], used: [], depth: 0 }
  let deepest = start
  let steps = 0
  const path = [search.stepsFrom(start)]
  while (path.length > 0) {
    const { value: node, done } = path.at(-1)!.next()
    if (done) {
      path.pop()
      continue
    }
    steps += 1
    if (node.depth > deepest.depth) deepest = node
    if (node.depth === history.answered.length) {
      return { verdict: 'linearizable', steps, order: orderOf(node), report: '' }
    }
    if (steps >= maxSteps) return failure('undecided', steps, deepest, history)
    path.push(search.stepsFrom(node))
  }
  // Without any answer there is nothing to explain.
  if (history.answered.length === 0) return { verdict: 'linearizable', steps, order: [], report: '' }
  return failure('not linearizable', steps, deepest, history)
}

// What the search is prepared with.

interface Prepared {
  operation: Operation
  /** In the history. */
  index: number
  /** The ids of what it adds. Negative where nobody knows them. */
  newIds: number[]
}

interface Answered extends Prepared {
  operation: Operation & { completed: number; answer: Answer }
}

/** What is known of an operation without an answer: which contacts it may touch. */
interface Unanswered extends Prepared {
  position: number
  creates: number[]
  updates: number[]
  removes: number[]
  clears: boolean
}

interface History {
  /** By their invocation. */
  answered: Answered[]
  /** By their invocation. Lists are not among them: they have no effect. */
  unanswered: Unanswered[]
  isUnexplained(id: number): boolean
}

function prepare(operations: readonly Operation[]): History {
  assertDistinctValues(operations)
  const { idsOf, isUnexplained } = identify(operations)
  const prepared = operations
    .map((operation, index) => ({ operation, index, newIds: idsOf(operation) }))
    .sort((a, b) => a.operation.invoked - b.operation.invoked)
  return {
    answered: prepared.filter((one): one is Answered => one.operation.answer !== null),
    unanswered: prepared
      .filter(({ operation: { answer, call } }) => answer === null && call.kind !== 'list')
      .map((one, position) => ({ ...one, position, ...touches(one) })),
    isUnexplained,
  }
}

function touches({ operation: { call }, newIds }: Prepared) {
  const isChange = call.kind === 'change'
  return {
    creates: newIds,
    updates: isChange ? call.update.map(({ id }) => id) : [],
    removes: isChange ? call.remove.map(({ id }) => id) : [],
    clears: call.kind === 'clear',
  }
}

function assertDistinctValues(operations: readonly Operation[]): void {
  const seen = new Set<string>()
  for (const { call } of operations) {
    for (const { value } of call.kind === 'change' ? call.add : []) {
      if (seen.has(value)) throw new Error(`${JSON.stringify(value)} is added twice: the history cannot be checked`)
      seen.add(value)
    }
  }
}

const contactsIn = (answer: Answer | null): Contact[] => {
  if (answer?.kind === 'listed') return answer.contacts
  return answer?.kind === 'changed' ? [...answer.added, ...answer.updated] : []
}

/**
 * Which ids operations gave to what they added: those that they answered, or else that under which somebody saw the value,
 * or else a negative one. An id is given once: for a second contact it is a negative one, too, so that the answer that
 * tells the id again is found wrong.
 */
function identify(operations: readonly Operation[]) {
  const given = new Set<number>()
  const ids = new Map<Operation, number[]>()
  const give = (id: number | undefined) => {
    const isFree = id !== undefined && !given.has(id)
    const result = isFree ? id : -1 - given.size
    given.add(result)
    return result
  }
  for (const operation of operations) {
    if (operation.answer?.kind === 'changed')
      ids.set(
        operation,
        operation.answer.added.map(({ id }) => give(id)),
      )
  }
  const seen = new Map<string, number>()
  for (const { answer } of operations) {
    for (const { id, value } of contactsIn(answer)) if (!seen.has(value)) seen.set(value, id)
  }
  for (const operation of operations) {
    const { call, answer } = operation
    if (answer === null && call.kind === 'change')
      ids.set(
        operation,
        call.add.map(({ value }) => give(seen.get(value))),
      )
  }

  const timesCleared = new Map<number, number>()
  for (const { answer } of operations) {
    for (const id of answer?.kind === 'cleared' ? answer.ids : []) timesCleared.set(id, (timesCleared.get(id) ?? 0) + 1)
  }
  return {
    idsOf: (operation: Operation) => ids.get(operation) ?? [],
    /** A contact goes once. */
    isUnexplained: (id: number) => !given.has(id) && timesCleared.get(id) === 1,
  }
}

// The search.

/** Some operations in an order that explains their answers. */
interface Node {
  parent: Node | undefined
  /** What was put in order since the parent: an answered operation, and before it what it needed of the unanswered. */
  placed: readonly Prepared[]
  state: State
  /** Of the answered operations all before `next` are placed, and those `ahead`, in ascending order. */
  next: number
  ahead: readonly number[]
  /** The unanswered operations that took effect, by position, in ascending order. */
  used: readonly number[]
  depth: number
}

/** A state that unanswered operations lead to. */
interface Way {
  state: State
  used: readonly number[]
  placed: readonly Unanswered[]
}

function createSearch(history: History) {
  const { answered, unanswered, isUnexplained } = history
  const keyOf = createKeys()
  const visited = createVisited()

  const judged = (state: State, { operation: { call, answer }, newIds }: Answered): Judgement =>
    judge(state, call, answer, newIds, isUnexplained)

  /** Every node that an answered operation leads to from this one, the most likely first; each node once in all. */
  function* stepsFrom(node: Node): Generator<Node, undefined> {
    const { open, until } = openAt(answered, node)
    const after = (place: number, state: State, way?: Way): Node => ({
      parent: node,
      placed: [...(way?.placed ?? []), answered[place]!],
      state,
      ...withPlaced(node, place),
      used: way?.used ?? node.used,
      depth: node.depth + 1,
    })
    const isNew = ({ next, ahead, state, used }: Node) => visited.add(`${next}:${ahead}:${keyOf(state)}`, used)

    const steps: Node[] = []
    for (const place of open) {
      const judgement = judged(node.state, answered[place]!)
      if ('fault' in judgement) continue
      const step = after(place, judgement.next)
      // What is right now and changes nothing can come now, whatever comes later: there is no need to try otherwise.
      if (judgement.next === node.state) {
        if (isNew(step)) yield step
        return
      }
      steps.push(step)
    }
    for (const step of steps) if (isNew(step)) yield step

    // An operation whose outcome is unknown is tried only where an answer needs it: anywhere else it could as well take
    // effect later, or never.
    const pending = unanswered.filter(({ position, operation: { invoked } }) => {
      return invoked <= until && !node.used.includes(position)
    })
    if (pending.length === 0) return
    for (const place of open) {
      for (const way of waysTo(answered[place]!, node, pending)) {
        const judgement = judged(way.state, answered[place]!)
        if ('fault' in judgement) continue
        const step = after(place, judgement.next, way)
        if (isNew(step)) yield step
      }
    }
  }

  /** The states that pending operations lead to from the node and in which the answer might be right, shortest way first. */
  function* waysTo(target: Answered, { state, used }: Node, pending: readonly Unanswered[]): Generator<Way> {
    const canHold = conditionOf(target, isUnexplained)
    const relevant = relevantTo(target, pending)
    const known = new Set<string>()
    const ways: Way[] = []
    const consider = (way: Way): boolean => {
      const left = relevant.filter(({ position }) => !way.used.includes(position))
      const key = `${way.used}:${keyOf(way.state)}`
      if (known.has(key) || !canHold(way.state, left)) return false
      known.add(key)
      ways.push(way)
      return true
    }
    const extend = (way: Way, by: Unanswered): Way | undefined => {
      const next = effectOf(by, way.state)
      return next && { state: next, used: inserted(way.used, by.position), placed: [...way.placed, by] }
    }

    const here: Way = { state, used, placed: [] }
    consider(here)
    // A clear makes vain whatever came before it, so it comes first; and one is as good as another.
    const clear = relevant.find(({ clears }) => clears)
    const cleared = clear && extend(here, clear)
    if (cleared) consider(cleared)

    for (let i = 0; i < ways.length; i += 1) {
      const way = ways[i]!
      if (way.placed.length > 0) yield way
      const left = relevant.filter(({ position, clears }) => !clears && !way.used.includes(position))
      const demanded = left.find((one) => isDemanded(one, target, way.state))
      for (const one of demanded ? [demanded] : withoutTwins(left)) {
        const further = extend(way, one)
        if (further) consider(further)
      }
    }
  }

  return { stepsFrom }
}

/** The answered operations that may come next, in the order of their completion, and when the first of them completes. */
function openAt(answered: readonly Answered[], { next, ahead }: Pick<Node, 'next' | 'ahead'>) {
  const open: number[] = []
  let until = Number.POSITIVE_INFINITY
  for (let place = next; place < answered.length; place += 1) {
    const { invoked, completed } = answered[place]!.operation
    if (invoked > until) break
    if (ahead.includes(place)) continue
    open.push(place)
    until = Math.min(until, completed)
  }
  const completedOf = (place: number) => answered[place]!.operation.completed
  return { open: open.sort((a, b) => completedOf(a) - completedOf(b)), until }
}

function withPlaced(node: Pick<Node, 'next' | 'ahead'>, place: number): Pick<Node, 'next' | 'ahead'> {
  let { next } = node
  let ahead = inserted(node.ahead, place)
  while (ahead[0] === next) {
    next += 1
    ahead = ahead.slice(1)
  }
  return { next, ahead }
}

const inserted = (sorted: readonly number[], one: number): number[] => [...sorted, one].sort((a, b) => a - b)

/** The state after an operation of unknown outcome; undefined where it would be refused, or change nothing. */
function effectOf({ operation: { call }, newIds }: Unanswered, state: State): State | undefined {
  if (call.kind !== 'change') return state.size === 0 ? undefined : emptyState
  const performed = perform(state, call, newIds)
  return 'refusals' in performed || performed.next === state ? undefined : performed.next
}

/**
 * The pending operations that can make a difference to the answer: those that touch a contact that it is about, or one that
 * another such operation touches. A list and a clear are about all contacts.
 */
function relevantTo({ operation: { call } }: Answered, pending: readonly Unanswered[]): readonly Unanswered[] {
  if (call.kind !== 'change') return pending
  const about = new Set([...call.update, ...call.remove].map(({ id }) => id))
  const relevant = new Set<Unanswered>()
  const isAbout = (id: number) => about.has(id)
  for (let before = -1; relevant.size !== before; ) {
    before = relevant.size
    for (const one of pending) {
      const touched = [...one.creates, ...one.updates, ...one.removes]
      if (!one.clears && !touched.some(isAbout)) continue
      relevant.add(one)
      for (const id of touched) about.add(id)
    }
  }
  return pending.filter((one) => relevant.has(one))
}

/** Whether an operation does nothing but add what the answer shows: then it must come before it, and may as well come now. */
function isDemanded(one: Unanswered, { operation: { answer } }: Answered, state: State): boolean {
  if (one.creates.length === 0 || one.updates.length > 0 || one.removes.length > 0) return false
  const shown =
    answer.kind === 'listed' ? answer.contacts.map(({ id }) => id) : answer.kind === 'cleared' ? answer.ids : []
  return one.creates.every((id) => shown.includes(id) && !state.has(id))
}

/** Of operations that add nothing but one contact whose id nobody knows, one of each kind: its value is never seen. */
function withoutTwins(left: readonly Unanswered[]): Unanswered[] {
  const kinds = new Set<string>()
  return left.filter(({ operation: { call }, newIds: [id], creates, updates, removes }) => {
    if (call.kind !== 'change' || creates.length !== 1 || id! > 0 || updates.length + removes.length > 0) return true
    const kind = `${call.add[0]!.channel} ${call.add[0]!.label}`
    const isFirst = !kinds.has(kind)
    kinds.add(kind)
    return isFirst
  })
}

/**
 * What must hold of a state, for the answer to be right after some of the operations that are left. It is not all that must
 * hold: it tells most of what is in vain, and quickly.
 */
function conditionOf({ operation: { call, answer } }: Answered, isUnexplained: (id: number) => boolean) {
  return (state: State, left: readonly Unanswered[]): boolean => {
    const creates = new Set(left.flatMap((one) => one.creates))
    const updates = new Set(left.flatMap((one) => one.updates))
    const removes = new Set(left.flatMap((one) => one.removes))
    const isPresent = (id: number) => state.has(id) || creates.has(id)
    const isPresentBelow = (id: number, version: number) => isPresent(id) && (state.get(id)?.version ?? 0) <= version
    /** Versions only go up, so with the same version it must be the same contact. */
    const canBecome = (contact: Contact) => {
      const actual = state.get(contact.id)
      if (!actual) return creates.has(contact.id)
      return actual.version === contact.version
        ? isSameContact(actual, contact)
        : actual.version < contact.version && updates.has(contact.id)
    }
    const goes = (ids: ReadonlySet<number>) => [...state.keys()].every((id) => ids.has(id) || removes.has(id))

    if (answer.kind === 'listed') {
      return answer.contacts.every(canBecome) && goes(new Set(answer.contacts.map(({ id }) => id)))
    }
    if (answer.kind === 'cleared') {
      const nameless = [...state.keys()].filter((id) => id < 0)
      const unexplained = answer.ids.filter(isUnexplained)
      return (
        nameless.length <= unexplained.length &&
        unexplained.length <= nameless.length + [...creates].filter((id) => id < 0).length &&
        answer.ids.every((id) => isPresent(id) || isUnexplained(id)) &&
        goes(new Set([...answer.ids, ...nameless]))
      )
    }
    const { update, remove } = call as ChangeCall
    if (answer.kind === 'changed') {
      return (
        update.every(({ id }, i) => isPresentBelow(id, answer.updated[i]?.version ?? 0)) &&
        remove.every(({ id, ifVersion }) => isPresentBelow(id, ifVersion ?? Number.POSITIVE_INFINITY))
      )
    }
    const part = (answer.list === 'update' ? update : remove)[answer.position]
    if (!part) return false
    return answer.kind === 'notFound'
      ? !state.has(part.id) || removes.has(part.id)
      : isPresentBelow(part.id, answer.currentVersion ?? 0)
  }
}

/** A short text for a state, the same for equal states. */
function createKeys() {
  const numbers = new Map<string, number>()
  const numberOf = new WeakMap<Contact, number>()
  const keys = new WeakMap<State, string>()
  const toNumber = (contact: Contact) => {
    const known = numberOf.get(contact)
    if (known !== undefined) return known
    const { id, version, channel, label, value, integration } = contact
    const text = JSON.stringify([id, version, channel, label, value, integration])
    const number = numbers.get(text) ?? numbers.size
    numbers.set(text, number)
    numberOf.set(contact, number)
    return number
  }
  return (state: State): string => {
    const known = keys.get(state)
    if (known !== undefined) return known
    const key = Array.from(state.values(), toNumber)
      .sort((a, b) => a - b)
      .join()
    keys.set(state, key)
    return key
  }
}

/** What has been looked at. Where fewer of the unanswered operations were used up, more could be done from there. */
function createVisited() {
  const seen = new Map<string, (readonly number[])[]>()
  return {
    /** False where the same was looked at before, with no more used up. */
    add(key: string, used: readonly number[]): boolean {
      const before = seen.get(key) ?? []
      if (before.some((other) => other.every((one) => used.includes(one)))) return false
      seen.set(key, [...before, used])
      return true
    },
  }
}

// What is told of it.

function placedUntil(node: Node): Prepared[] {
  const placed: Prepared[][] = []
  for (let at: Node | undefined = node; at; at = at.parent) placed.push([...at.placed])
  return placed.reverse().flat()
}

const orderOf = (node: Node) => placedUntil(node).map(({ index }) => index)

const shownOperations = 12

function failure(verdict: Verdict, steps: number, deepest: Node, history: History): CheckResult {
  const { answered, unanswered, isUnexplained } = history
  const placed = placedUntil(deepest)
  const { open } = openAt(answered, deepest)
  const contacts = inListOrder(deepest.state)
  const report = [
    verdict === 'undecided'
      ? `Not decided after ${steps} states. The longest order that was found explains ${deepest.depth} of ${answered.length} answers.`
      : `Not linearizable: no order explains more than ${deepest.depth} of ${answered.length} answers.`,
    `It ends with`,
    ...placed.slice(-shownOperations).map((one) => `  ${showOperation(one)}`),
    contacts.length === 0 ? 'after which there are no contacts.' : 'after which the contacts are',
    ...contacts.map((contact) => `  ${showContact(contact)}`),
    'None of these can come next:',
    ...open.map((place) => {
      const one = answered[place]!
      const { call, answer } = one.operation
      const judgement = judge(deepest.state, call, answer, one.newIds, isUnexplained)
      const reason = 'fault' in judgement ? judgement.fault() : 'it could, but then nothing fits after it'
      return `  ${showOperation(one)}\n    ${reason}`
    }),
    `Of ${unanswered.length} operations whose outcome is unknown, ${deepest.used.length} are among the ${placed.length} in this order.`,
  ].join('\n')
  return { verdict, steps, order: placed.map(({ index }) => index), report }
}

function showOperation({ index, operation: { client, invoked, completed, call, answer } }: Prepared): string {
  const times = `${invoked.toFixed(3)}–${completed === null ? '?' : completed.toFixed(3)}`
  return `#${index} client ${client} ${times} ${showCall(call)} → ${answer ? showAnswer(answer) : 'unknown'}`
}

function showCall(call: Call): string {
  if (call.kind !== 'change') return call.kind === 'clear' ? 'clearContacts' : 'list'
  const version = (ifVersion: number | undefined) => (ifVersion === undefined ? '' : ` ifVersion ${ifVersion}`)
  const parts = [
    ...call.add.map(({ channel, label, value }) => `add ${channel} ${label} ${JSON.stringify(value)}`),
    ...call.update.map(({ id, ifVersion, change }) => `update ${id}${version(ifVersion)} ${JSON.stringify(change)}`),
    ...call.remove.map(({ id, ifVersion }) => `remove ${id}${version(ifVersion)}`),
  ]
  return `${call.verb}(${parts.join(', ') || 'nothing'})`
}

function showAnswer(answer: Answer): string {
  const versions = (contacts: readonly Contact[]) => contacts.map(({ id, version }) => `${id} v${version}`).join(', ')
  if (answer.kind === 'listed') return `[${versions(answer.contacts)}]`
  if (answer.kind === 'cleared') return `cleared [${answer.ids.join(', ')}]`
  if (answer.kind === 'changed') {
    const { added, updated, removedIds } = answer
    const parts = [
      added.length > 0 && `added ${versions(added)}`,
      updated.length > 0 && `updated ${versions(updated)}`,
      removedIds.length > 0 && `removed ${removedIds.join(', ')}`,
    ]
    return parts.filter(Boolean).join(', ') || 'nothing changed'
  }
  const at = `${answer.list} ${answer.position}`
  return answer.kind === 'notFound'
    ? `NotFound at ${at}`
    : `Conflict at ${at}, current version ${answer.currentVersion}`
}
