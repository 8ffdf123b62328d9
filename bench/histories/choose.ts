import type { Channel, Label } from '../../src/db/tables.ts'
import {
  type Answer,
  add,
  type Call,
  type Contact,
  changeSeveral,
  type NewContact,
  type Removal,
  remove,
  type Update,
  update,
} from './model.ts'

// What clients do next: at random, but so that they get into each other's way.

/** What clients have been told of the contacts of an organization. It may be old: then they are refused. */
export interface Knowledge {
  present: Map<number, Contact>
  /** The last that went. */
  gone: Contact[]
}

export const newKnowledge = (): Knowledge => ({ present: new Map(), gone: [] })

const keptGone = 8

/** Learns from an answer. */
export function learn({ present, gone }: Knowledge, call: Call, answer: Answer): void {
  const forget = (id: number) => {
    const contact = present.get(id)
    present.delete(id)
    if (contact) gone.push(contact)
    gone.splice(0, gone.length - keptGone)
  }
  if (answer.kind === 'changed') {
    for (const contact of [...answer.added, ...answer.updated]) present.set(contact.id, contact)
    answer.removedIds.forEach(forget)
  }
  if (answer.kind === 'cleared') answer.ids.forEach(forget)
  if (answer.kind === 'listed') {
    const ids = new Set(answer.contacts.map(({ id }) => id))
    for (const id of [...present.keys()]) if (!ids.has(id)) forget(id)
    for (const contact of answer.contacts) present.set(contact.id, contact)
  }
  if (call.kind !== 'change' || (answer.kind !== 'notFound' && answer.kind !== 'conflict')) return
  const { id } = call[answer.list][answer.position]!
  const contact = present.get(id)
  if (answer.kind === 'notFound') forget(id)
  else if (contact) present.set(id, { ...contact, version: answer.currentVersion! })
}

/** A list shows 100 contacts at most, and is to be complete. */
const manyContacts = 50

const labels: Record<Channel, readonly Label[]> = {
  telephone: ['general', 'service_desk', 'fax', 'service_desk_fax'],
  email: ['general', 'service_desk'],
  website: ['general', 'service_desk'],
}

const textFor: Record<Channel, (text: string) => string> = {
  telephone: (text) => `+1 203 413 4880 ${text}`,
  email: (text) => `${text}@example.org`,
  website: (text) => `${text}.example.org`,
}

/**
 * Chooses the calls of one client. Every value that it writes is one of its own, so `name` must be another for each client:
 * by its value a contact is recognized.
 */
export function createChooser(random: () => number, name: string): (known: Knowledge) => Call {
  const chance = (share: number) => random() < share
  const below = (limit: number) => Math.floor(random() * limit)
  const pick = <Item>(items: readonly Item[]): Item => items[below(items.length)]!

  let written = 0
  const newValue = (channel: Channel) => {
    written += 1
    return textFor[channel](`${name}n${written}`)
  }
  const aNewContact = (): NewContact => {
    const channel = pick(['telephone', 'email', 'website'] as const)
    return { channel, label: pick(labels[channel]), value: newValue(channel), integration: chance(0.2) }
  }
  /** Mostly the version that is known, sometimes an old one, sometimes none. */
  const aVersion = ({ version }: Contact): number | undefined => {
    if (chance(0.3)) return undefined
    return chance(0.15) ? Math.max(1, version - 1) : version
  }
  const aChange = ({ channel, label, value, integration }: Contact): Update['change'] => {
    if (chance(0.1)) return pick([{}, { label }, { value }, { integration }])
    const change: Update['change'] = {}
    if (chance(0.7)) change.value = newValue(channel)
    if (chance(0.3)) change.label = pick(labels[channel])
    if (chance(0.2)) change.integration = !integration
    return change
  }
  const someContacts = ({ present, gone }: Knowledge, count: number): Contact[] => {
    // Mostly few and the same, so that clients meet.
    const all = [...present.values()]
    const near = chance(0.5) ? all.slice(-4) : all
    const chosen = new Map<number, Contact>()
    for (let i = 0; i < count; i += 1) {
      const from = gone.length > 0 && (near.length === 0 || chance(0.06)) ? gone : near
      if (from.length === 0) break
      const contact = pick(from)
      chosen.set(contact.id, contact)
    }
    return [...chosen.values()]
  }
  const withVersion = (contact: Contact): Removal => {
    const ifVersion = aVersion(contact)
    return { id: contact.id, ...(ifVersion !== undefined && { ifVersion }) }
  }
  const several = (known: Knowledge, adds: number, updates: number, removals: number): Call => {
    const chosen = someContacts(known, updates + removals)
    return changeSeveral({
      add: Array.from({ length: adds }, aNewContact),
      update: chosen.slice(0, updates).map((contact) => ({
        ...withVersion(contact),
        channel: contact.channel,
        change: aChange(contact),
      })),
      remove: chosen.slice(updates).map(withVersion),
    })
  }

  return (known) => {
    const isFull = known.present.size > manyContacts
    if (isFull) return chance(0.3) ? { kind: 'clear' } : several(known, 0, 0, 8)
    const kind = random()
    if (kind < 0.27) return { kind: 'list' }
    if (kind < 0.31) return { kind: 'clear' }
    if (kind < 0.46) return several(known, below(3), below(3), below(3))
    if (kind < 0.72) return add(aNewContact())
    const [contact] = someContacts(known, 1)
    if (!contact) return add(aNewContact())
    return kind < 0.92 ? update(contact, aChange(contact), aVersion(contact)) : remove(contact.id, aVersion(contact))
  }
}
