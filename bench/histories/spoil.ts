import type { Operation } from './checker.ts'
import type { Answer, Contact } from './model.ts'

// Wrong histories, made of right ones. A checker that finds nothing wrong is worth nothing until it finds these.

/** Makes an answer wrong that nothing in the history can explain then; undefined where this one cannot be made so. */
type Spoil = (operation: Operation, history: readonly Operation[], pick: Pick) => Answer | undefined
type Pick = <Item>(items: readonly Item[]) => Item | undefined

const pickBy =
  (random: () => number): Pick =>
  (items) =>
    items[Math.floor(random() * items.length)]

/** Whether the answer to `before` was there when `after` began. */
const isBefore = (before: Operation, after: Operation) => before.completed !== null && before.completed < after.invoked

const showing = (answer: Answer | null): Contact[] =>
  answer?.kind === 'changed' ? [...answer.added, ...answer.updated] : []

/** Whether the contact was certainly there while the operation ran: added before, and taken away by nobody meanwhile. */
const wasThere = (id: number, operation: Operation, history: readonly Operation[]) =>
  history.some(
    (other) =>
      isBefore(other, operation) && other.answer?.kind === 'changed' && other.answer.added.some((one) => one.id === id),
  ) &&
  !history.some(
    (other) =>
      other !== operation &&
      !isBefore(operation, other) &&
      (other.call.kind === 'clear' || (other.call.kind === 'change' && other.call.remove.some((one) => one.id === id))),
  )

const hasLost = (history: readonly Operation[]) => history.some(({ answer }) => answer === null)

/** One that changes what a list shows. */
const ofList =
  (
    change: (
      contacts: Contact[],
      pick: Pick,
      operation: Operation,
      history: readonly Operation[],
    ) => Contact[] | undefined,
  ): Spoil =>
  (operation, history, pick) => {
    const { answer } = operation
    const contacts = answer?.kind === 'listed' ? change(answer.contacts, pick, operation, history) : undefined
    return contacts && { kind: 'listed', contacts }
  }

/** One that changes what a list shows of one contact. */
const ofListed = (change: (contacts: Contact[], one: Contact) => Contact[]) =>
  ofList((contacts, pick) => {
    const one = pick(contacts)
    return one && change(contacts, one)
  })

const without = <Item>(items: readonly Item[], one: Item) => items.filter((item) => item !== one)

export const spoilers: Record<string, Spoil> = {
  'a list without a contact that was there': ofList((contacts, pick, operation, history) => {
    const left = pick(contacts.filter(({ id }) => wasThere(id, operation, history)))
    return left && without(contacts, left)
  }),

  'a list that shows a removed contact': ofList((contacts, pick, operation, history) => {
    const removedIds = history
      .filter((other) => isBefore(other, operation))
      .flatMap(({ answer }) => (answer?.kind === 'changed' ? answer.removedIds : []))
    const id = pick(removedIds)
    const removed = history.flatMap(({ answer }) => showing(answer)).find((contact) => contact.id === id)
    return removed && insertInOrder(contacts, removed)
  }),

  'a list that shows an old version': ofList((contacts, pick, operation, history) => {
    const told = history.filter((other) => isBefore(other, operation)).flatMap(({ answer }) => showing(answer))
    const isTold = ({ id, version }: Contact) => told.some((one) => one.id === id && one.version === version)
    const moved = pick(contacts.filter((contact) => contact.version > 1 && isTold(contact)))
    return moved && replaced(contacts, moved, { version: moved.version - 1 })
  }),

  'a list that shows what nobody wrote': ofListed((contacts, one) =>
    replaced(contacts, one, { value: 'nobody@example.org' }),
  ),

  'a list in another order': ofList((contacts) => (contacts.length > 1 ? contacts.toReversed() : undefined)),

  'a list that shows a contact twice': ofListed(insertInOrder),

  'a list that shows a contact under another id, too': ofListed((contacts, one) =>
    insertInOrder(contacts, { ...one, id: 999_999 }),
  ),

  'a clear that conceals a contact': (operation, history, pick) => {
    const { answer } = operation
    if (answer?.kind !== 'cleared') return undefined
    const left = pick(answer.ids.filter((id) => wasThere(id, operation, history)))
    return left === undefined ? undefined : { kind: 'cleared', ids: without(answer.ids, left) }
  },

  'a clear that returns what was never there': ({ answer }, history) => {
    // A lost add may have made it.
    if (answer?.kind !== 'cleared' || hasLost(history)) return undefined
    return { kind: 'cleared', ids: [...answer.ids, 999_999] }
  },

  'an update that skips a version': ({ answer }, history) => {
    // A lost update may have been between.
    if (answer?.kind !== 'changed' || answer.updated.length === 0 || hasLost(history)) return undefined
    const updated = answer.updated.map((contact) => ({ ...contact, version: contact.version + 1 }))
    return { ...answer, updated }
  },

  'a conflict about a version that never was': ({ answer }) =>
    answer?.kind === 'conflict' ? { ...answer, currentVersion: answer.currentVersion! + 100 } : undefined,

  'a refusal of what was done': ({ call, answer }, history) => {
    const value = call.kind === 'change' && call.verb === 'updateContact' ? call.update[0]!.change.value : undefined
    if (value === undefined || answer?.kind !== 'changed') return undefined
    // Somebody has seen the value, which nobody else wrote.
    const isSeen = history.some((other) => {
      return other.answer?.kind === 'listed' && other.answer.contacts.some((contact) => contact.value === value)
    })
    const writers = history.filter(({ call: { kind, ...parts } }) => {
      return kind === 'change' && JSON.stringify(parts).includes(JSON.stringify(value))
    })
    return isSeen && writers.length === 1 ? { kind: 'notFound', list: 'update', position: 0 } : undefined
  },
}

const replaced = (contacts: readonly Contact[], one: Contact, by: Partial<Contact>) =>
  contacts.map((contact) => (contact === one ? { ...contact, ...by } : contact))

/** Before the first that has a higher id under the same channel and label, or else after all of them. */
function insertInOrder(contacts: readonly Contact[], one: Contact): Contact[] {
  const isSameKind = ({ channel, label }: Contact) => channel === one.channel && label === one.label
  const at = contacts.findIndex((contact) => isSameKind(contact) && contact.id > one.id)
  const last = contacts.findLastIndex(isSameKind)
  return contacts.toSpliced(at === -1 ? last + 1 : at, 0, one)
}

/** The history with one answer made wrong in this way, somewhere; undefined where it cannot be. */
export function spoil(history: readonly Operation[], how: Spoil, random: () => number): Operation[] | undefined {
  for (let tries = 0; tries < 500; tries += 1) {
    const index = Math.floor(random() * history.length)
    const answer = how(history[index]!, history, pickBy(random))
    if (answer) return history.with(index, { ...history[index]!, answer })
  }
  return undefined
}

/** The history with an answer changed at random: it may be as right as before. */
export function mixUp(history: readonly Operation[], random: () => number): Operation[] {
  const pick = pickBy(random)
  const answered = history.filter(({ answer }) => answer !== null)
  const one = pick(answered)
  if (!one) return [...history]
  const known = answered.flatMap(({ answer }) => [
    ...showing(answer),
    ...(answer?.kind === 'listed' ? answer.contacts : []),
  ])
  const answer = mixedAnswer(one.answer!, known, pick)
  return history.map((operation) => (operation === one ? { ...operation, answer } : operation))
}

function mixedAnswer(answer: Answer, known: readonly Contact[], pick: Pick): Answer {
  const isShort = pick([true, false])
  if (answer.kind === 'cleared') {
    const left = pick(answer.ids)
    const more = pick(known)?.id ?? 999_999
    return { kind: 'cleared', ids: isShort ? answer.ids.filter((id) => id !== left) : [...answer.ids, more] }
  }
  if (answer.kind === 'listed') {
    const contact = pick(isShort ? answer.contacts : known)
    if (!contact) return answer
    const others = answer.contacts.filter(({ id }) => id !== contact.id)
    return { kind: 'listed', contacts: isShort ? others : insertInOrder(others, contact) }
  }
  if (answer.kind !== 'changed') return { ...answer, kind: 'conflict', currentVersion: pick([1, 2, 3])! }
  const by = pick([-1, 1])!
  return { ...answer, updated: answer.updated.map((contact) => ({ ...contact, version: contact.version + by })) }
}
