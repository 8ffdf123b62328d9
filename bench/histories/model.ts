import type { Channel, Label } from '../../src/db/tables.ts'

// What an organization is to its callers, one operation after the other: the contract that the checker holds histories to.
// It is written from the contract, and shares no code with what it judges.

export interface Contact {
  id: number
  channel: Channel
  label: Label
  value: string
  integration: boolean
  version: number
}

export type NewContact = Omit<Contact, 'id' | 'version'>

export interface Update {
  id: number
  /** The one of the contact, which never changes. */
  channel: Channel
  ifVersion?: number
  /** What is absent stays as it is. */
  change: Partial<Pick<Contact, 'label' | 'value' | 'integration'>>
}

export interface Removal {
  id: number
  ifVersion?: number
}

/** All of it, or nothing. An add, an update and a removal are changes of one part. */
export interface ChangeCall {
  kind: 'change'
  verb: 'addContact' | 'updateContact' | 'removeContact' | 'changeContacts'
  add: NewContact[]
  update: Update[]
  remove: Removal[]
}

export type Call = ChangeCall | { kind: 'clear' } | { kind: 'list' }

/** Why a change was refused, and by which of its parts. */
export interface Refusal {
  kind: 'notFound' | 'conflict'
  list: 'update' | 'remove'
  position: number
  /** Of a conflict. */
  currentVersion?: number
}

export type Answer =
  | { kind: 'changed'; added: Contact[]; updated: Contact[]; removedIds: number[] }
  | { kind: 'cleared'; ids: number[] }
  | { kind: 'listed'; contacts: Contact[] }
  | Refusal

export const add = (...contacts: NewContact[]): ChangeCall => ({
  kind: 'change',
  verb: 'addContact',
  add: contacts,
  update: [],
  remove: [],
})

export const update = (
  { id, channel }: Pick<Contact, 'id' | 'channel'>,
  change: Update['change'],
  ifVersion?: number,
): ChangeCall => ({
  kind: 'change',
  verb: 'updateContact',
  add: [],
  update: [{ id, channel, change, ...(ifVersion !== undefined && { ifVersion }) }],
  remove: [],
})

export const remove = (id: number, ifVersion?: number): ChangeCall => ({
  kind: 'change',
  verb: 'removeContact',
  add: [],
  update: [],
  remove: [{ id, ...(ifVersion !== undefined && { ifVersion }) }],
})

export const changeSeveral = (parts: Partial<Pick<ChangeCall, 'add' | 'update' | 'remove'>>): ChangeCall => ({
  kind: 'change',
  verb: 'changeContacts',
  add: [],
  update: [],
  remove: [],
  ...parts,
})

/** The contacts of an organization by their id. */
export type State = ReadonlyMap<number, Contact>

export const emptyState: State = new Map()

const channelOrder: readonly Channel[] = ['telephone', 'email', 'website']
const labelOrder: readonly Label[] = ['general', 'service_desk', 'fax', 'service_desk_fax']

const rankOf = ({ channel, label }: Contact) => channelOrder.indexOf(channel) * 10 + labelOrder.indexOf(label)

/** Below zero where `a` comes before `b` in a list. */
export const compareInList = (a: Contact, b: Contact) => rankOf(a) - rankOf(b) || a.id - b.id

export const inListOrder = (state: State): Contact[] => [...state.values()].sort(compareInList)

export const isSameContact = (a: Contact, b: Contact) =>
  a.id === b.id &&
  a.version === b.version &&
  a.value === b.value &&
  a.label === b.label &&
  a.channel === b.channel &&
  a.integration === b.integration

/** What a change does to a state, or everything that stands against it. */
export type Performed = { next: State; updated: Contact[] } | { refusals: Refusal[] }

/** Performs a change; `newIds` are the ids of what it adds. The state stays the same object where nothing changes. */
export function perform(state: State, call: ChangeCall, newIds: readonly number[]): Performed {
  const refusals = [
    ...call.update.flatMap((part, position) => refusalOf(state, part, 'update', position)),
    ...call.remove.flatMap((part, position) => refusalOf(state, part, 'remove', position)),
  ]
  if (refusals.length > 0) return { refusals }
  const updated = call.update.map((part) => changed(state.get(part.id)!, part.change))
  const isChange = updated.some((contact) => contact !== state.get(contact.id))
  if (!isChange && call.add.length === 0 && call.remove.length === 0) return { next: state, updated }
  const next = new Map(state)
  for (const contact of updated) next.set(contact.id, contact)
  for (const { id } of call.remove) next.delete(id)
  call.add.forEach((contact, i) => {
    next.set(newIds[i]!, { ...contact, id: newIds[i]!, version: 1 })
  })
  return { next, updated }
}

function refusalOf(state: State, { id, ifVersion }: Removal, list: Refusal['list'], position: number): Refusal[] {
  const contact = state.get(id)
  if (!contact) return [{ kind: 'notFound', list, position }]
  if (ifVersion === undefined || ifVersion === contact.version) return []
  return [{ kind: 'conflict', list, position, currentVersion: contact.version }]
}

/** The version goes up by one, unless there is nothing to change: then it is the same object. */
function changed(contact: Contact, change: Update['change']): Contact {
  const next = { ...contact, ...change }
  return isSameContact(contact, next) ? contact : { ...next, version: contact.version + 1 }
}

/** The state after the operation, or why its answer cannot be given in the state. */
export type Judgement = { next: State } | { fault: () => string }

/** How ids that no add was answered with are told from others: an add whose answer was lost may have made them. */
export type IsUnexplained = (id: number) => boolean

/** Judges an answer that was given in a state. `newIds` are the ids that the answer tells of what was added. */
export function judge(
  state: State,
  call: Call,
  answer: Answer,
  newIds: readonly number[],
  isUnexplained: IsUnexplained,
): Judgement {
  if (call.kind === 'change') {
    if (answer.kind === 'changed') return judgeChange(state, call, answer, newIds)
    if (answer.kind === 'notFound' || answer.kind === 'conflict') return judgeRefusal(state, call, answer)
  }
  if (call.kind === 'clear' && answer.kind === 'cleared') return judgeCleared(state, answer.ids, isUnexplained)
  if (call.kind === 'list' && answer.kind === 'listed') return judgeListed(state, answer.contacts)
  return { fault: () => `${answer.kind} is no answer to ${call.kind}` }
}

function judgeChange(
  state: State,
  call: ChangeCall,
  answer: Answer & { kind: 'changed' },
  newIds: readonly number[],
): Judgement {
  const taken = newIds.find((id) => state.has(id))
  if (taken !== undefined) return { fault: () => `the id ${taken} is new in the answer, but there already` }
  const performed = perform(state, call, newIds)
  if ('refusals' in performed) {
    return { fault: () => `it must be refused: ${performed.refusals.map((refusal) => why(call, refusal)).join(', ')}` }
  }
  const added = newIds.map((id) => performed.next.get(id)!)
  const fault =
    difference('added', answer.added, added) ??
    difference('updated', answer.updated, performed.updated) ??
    (sameIds(
      answer.removedIds,
      call.remove.map(({ id }) => id),
    )
      ? undefined
      : () => `it answers that [${answer.removedIds}] are removed`)
  return fault ? { fault } : { next: performed.next }
}

function difference(what: string, told: readonly Contact[], right: readonly Contact[]): (() => string) | undefined {
  if (told.length === right.length && told.every((contact, i) => isSameContact(contact, right[i]!))) return undefined
  return () => `it must answer ${what} ${right.map(showContact).join(', ') || 'nothing'}`
}

/** Which of several faults is told is left open. What is told must be true. */
function judgeRefusal(state: State, call: ChangeCall, answer: Refusal): Judgement {
  const performed = perform(state, call, [])
  if (!('refusals' in performed)) return { fault: () => 'there is no reason to refuse it' }
  const isTrue = performed.refusals.some(
    ({ kind, list, position, currentVersion }) =>
      kind === answer.kind &&
      list === answer.list &&
      position === answer.position &&
      currentVersion === answer.currentVersion,
  )
  if (isTrue) return { next: state }
  return {
    fault: () => `it must be refused otherwise: ${performed.refusals.map((refusal) => why(call, refusal)).join(', ')}`,
  }
}

function why(call: ChangeCall, { kind, list, position, currentVersion }: Refusal): string {
  const { id, ifVersion } = call[list][position]!
  return kind === 'notFound' ? `there is no ${id}` : `${id} is at version ${currentVersion}, not ${ifVersion}`
}

function judgeListed(state: State, told: readonly Contact[]): Judgement {
  const isRight =
    told.length === state.size &&
    told.every((contact, i) => {
      const actual = state.get(contact.id)
      return (
        actual !== undefined &&
        (actual === contact || isSameContact(actual, contact)) &&
        // Above the one before: so each of them is told once.
        (i === 0 || compareInList(told[i - 1]!, contact) < 0)
      )
    })
  return isRight ? { next: state } : { fault: () => listFault(state, told) }
}

function listFault(state: State, told: readonly Contact[]): string {
  const toldIds = new Set(told.map(({ id }) => id))
  const faults = [
    ...told.flatMap((contact) => {
      const actual = state.get(contact.id)
      if (!actual) return [`it shows ${showContact(contact)}, which is not there`]
      return isSameContact(actual, contact) ? [] : [`it shows ${showContact(contact)}, which is ${showContact(actual)}`]
    }),
    ...[...state.values()]
      .filter(({ id }) => !toldIds.has(id))
      .map((contact) => `it does not show ${showContact(contact)}`),
    ...(toldIds.size < told.length ? ['it shows a contact twice'] : []),
  ]
  return faults.join('; ') || 'it is not in list order'
}

/**
 * The ids in list order. Contacts of a negative id are there by an add whose answer was lost: any id fits them that
 * nothing explains, as long as the order is right.
 */
function judgeCleared(state: State, ids: readonly number[], isUnexplained: IsUnexplained): Judgement {
  const fault = () => `it must return [${inListOrder(state).map(({ id }) => (id < 0 ? '?' : id))}]`
  if (ids.length !== state.size || new Set(ids).size !== ids.length) return { fault }
  const contacts = inListOrder(state)
  for (let from = 0; from < contacts.length; ) {
    const rank = rankOf(contacts[from]!)
    const end = contacts.findIndex((contact, i) => i > from && rankOf(contact) !== rank)
    const to = end === -1 ? contacts.length : end
    if (!isSameGroup(contacts.slice(from, to), ids.slice(from, to), isUnexplained)) return { fault }
    from = to
  }
  return { next: emptyState }
}

/** Whether the ids can be those of contacts that share channel and label. */
function isSameGroup(contacts: readonly Contact[], ids: readonly number[], isUnexplained: IsUnexplained): boolean {
  const known = new Set(contacts.filter(({ id }) => id > 0).map(({ id }) => id))
  const isAscending = ids.every((id, i) => i === 0 || ids[i - 1]! < id)
  const others = ids.filter((id) => !known.has(id))
  return isAscending && others.length === contacts.length - known.size && others.every(isUnexplained)
}

const sameIds = (a: readonly number[], b: readonly number[]) => a.length === b.length && a.every((id, i) => id === b[i])

export function showContact({ id, version, channel, label, value, integration }: Contact): string {
  return `${id < 0 ? '?' : id} v${version} (${channel} ${label} ${JSON.stringify(value)}${integration ? ' integration' : ''})`
}
