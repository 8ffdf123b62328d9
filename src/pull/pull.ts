import type { Context } from '../domain/context.ts'
import { type Issue, NotFoundError, ValidationError } from '../domain/errors.ts'
import {
  beginPull,
  finishPull,
  type KnownOrganization,
  knownContacts,
  knownOrganizations,
  type PulledContact,
  type PulledOrganization,
  type PulledOutcome,
  pullContacts,
  pullOrganizations,
  touchPulled,
} from '../domain/pull.ts'
import { SourceError } from './client.ts'
import type { Source } from './source.ts'
import { parentsFirst } from './tree.ts'

const batchSize = 500
/** Organizations whose contacts are read or written at once. How many requests are is for the client to say. */
const organizationsAtOnce = 8

export interface PullOptions {
  /** Passes over the contacts of organizations whose `updated_at` is as it was. */
  changedOnly: boolean
  /** Ends it after the writes that are under way. */
  signal: AbortSignal
  tell(warning: string): void
  /** Of so many organizations whose contacts are to be read, so many have been. */
  onProgress?(done: number, total: number): void
}

export interface Counts {
  created: number
  updated: number
  unchanged: number
  deleted: number
  failed: number
}

export interface PullResult {
  isResumed: boolean
  organizations: Counts
  contacts: Counts
}

const noCounts = (): Counts => ({ created: 0, updated: 0, unchanged: 0, deleted: 0, failed: 0 })

/** How a source is called, here and in the database. */
export const nameOf = (base: URL, account: string | undefined) =>
  account === undefined ? base.href : `${base.href}#${account}`

/**
 * Makes the organizations and contacts that came from a source those that it has now. What was interrupted goes on where it
 * was. An organization with a fault is told and left as it is; the others go on.
 */
export function pull(ctx: Context, from: string, source: Source, options: PullOptions): Promise<PullResult> {
  return new Round(ctx, from, source, options).run()
}

class Round {
  readonly #ctx: Context
  readonly #from: string
  readonly #source: Source
  readonly #options: PullOptions
  /** Ends the others when one fails. */
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #result: PullResult = { isResumed: false, organizations: noCounts(), contacts: noCounts() }
  readonly #refused = new Set<number>()

  constructor(ctx: Context, from: string, source: Source, options: PullOptions) {
    this.#ctx = ctx
    this.#from = from
    this.#source = source
    this.#options = options
    this.#signal = AbortSignal.any([options.signal, this.#stop.signal])
  }

  async run(): Promise<PullResult> {
    const { startedAt, isResumed } = await beginPull(this.#ctx, this.#from)
    this.#result.isResumed = isResumed
    const known = await this.#known()
    const { rows, faulty, gone } = await this.#organizations(known)
    for (const { foreignId, reason } of faulty) {
      this.#failed(
        `${foreignId === undefined ? 'An organization' : `Organization ${foreignId}`} was left out: ${reason}`,
      )
      if (foreignId !== undefined) this.#refused.add(foreignId)
    }
    const isKept = (parent: number) => this.#refused.has(parent) && known.has(parent)
    const ordered = parentsFirst(rows, isKept, this.#options.tell)
    await this.#writeOrganizations(ordered, known)

    const isDone = ({ foreignId, updatedAt }: PulledOrganization) => {
      const before = known.get(foreignId)
      if (!before?.contactsAt) return false
      if (isResumed && before.contactsAt >= startedAt) return true
      return this.#options.changedOnly && updatedAt !== null && updatedAt === before.updatedAt
    }
    const held = ordered.filter(({ foreignId }) => !this.#refused.has(foreignId))
    const waiting = held.filter((row) => !isDone(row))
    let done = 0
    await this.#each(waiting, async ({ foreignId }) => {
      if (await this.#contacts(foreignId, known.get(foreignId)?.etag ?? null)) gone.push(foreignId)
      done += 1
      this.#options.onProgress?.(done, waiting.length)
    })
    await this.#each(gone, (foreignId) => this.#remove(foreignId))
    await finishPull(this.#ctx, this.#from)
    return this.#result
  }

  async #known(): Promise<Map<number, KnownOrganization>> {
    const known = new Map<number, KnownOrganization>()
    for (let after = 0; ; ) {
      const some = await knownOrganizations(this.#ctx, this.#from, after)
      for (const one of some) known.set(one.foreignId, one)
      const last = some.at(-1)
      if (!last) return known
      after = last.foreignId
    }
  }

  /** All organizations of the source, and the foreign ids of those that it had and has no more. */
  async #organizations(known: ReadonlyMap<number, KnownOrganization>) {
    const { rows, faulty, isCertain } = await this.#source.organizations(this.#signal)
    if (rows.length === 0 && known.size > 0)
      throw new SourceError(
        `The source shows no organizations, but ${known.size} came from it before: nothing was changed.`,
      )
    const seen = new Set([...rows, ...faulty].map(({ foreignId }) => foreignId))
    const unseen = [...known.keys()].filter((id) => !seen.has(id))
    if (isCertain) return { rows, faulty, gone: unseen }
    const gone: number[] = []
    await this.#each(unseen, async (id) => {
      const found = await this.#source.organization(id, this.#signal)
      if (found === undefined) gone.push(id)
      else if ('reason' in found) faulty.push(found)
      else rows.push(found)
    })
    return { rows, faulty, gone }
  }

  async #writeOrganizations(
    ordered: readonly PulledOrganization[],
    known: ReadonlyMap<number, KnownOrganization>,
  ): Promise<void> {
    const again = await this.#writeBatches(ordered, () => {})
    // What stood in the way, as a name that another one had, may have gone by now.
    await this.#writeBatches(again, ({ foreignId }, issues) => {
      this.#refused.add(foreignId)
      const reasons = issues.map(({ message }) => message)
      this.#failed(`Organization ${foreignId} was left out: ${reasons.join(' ')}`)
    })
    for (const { foreignId, parentForeignId: parent } of ordered) {
      if (parent === null || !this.#refused.has(parent) || known.has(parent) || this.#refused.has(foreignId)) continue
      this.#options.tell(`Organization ${foreignId} is beneath ${parent}, which was left out: it is at the root.`)
    }
  }

  /** Writes organizations, and gives back those that were refused. */
  async #writeBatches(
    rows: readonly PulledOrganization[],
    onRefused: (row: PulledOrganization, issues: readonly Issue[]) => void,
  ): Promise<PulledOrganization[]> {
    const refused: PulledOrganization[] = []
    for (let at = 0; at < rows.length; at += batchSize) {
      this.#signal.throwIfAborted()
      const batch = rows.slice(at, at + batchSize)
      const outcomes: readonly PulledOutcome[] = await pullOrganizations(this.#ctx, this.#from, batch)
      outcomes.forEach((outcome, place) => {
        if (outcome.outcome !== 'failed') {
          this.#result.organizations[outcome.outcome] += 1
          return
        }
        refused.push(batch[place]!)
        onRefused(batch[place]!, outcome.issues)
      })
    }
    return refused
  }

  /** Brings the contacts of one organization, and tells whether it is gone. */
  async #contacts(foreignId: number, etag: string | null): Promise<boolean> {
    const read = await this.#source.contacts(foreignId, {
      etag,
      known: () => knownContacts(this.#ctx, this.#from, foreignId),
      signal: this.#signal,
    })
    switch (read.kind) {
      case 'unchanged':
        await touchPulled(this.#ctx, this.#from, foreignId)
        return false
      case 'missing':
        if ((await this.#source.organization(foreignId, this.#signal)) === undefined) return true
        this.#failed(`The source has the organization ${foreignId}, but no list of its contacts.`)
        return false
      case 'faulty':
        this.#contactsFailed(foreignId, read.count, read.reasons)
        return false
      case 'read':
        await this.#writeContacts(foreignId, read.rows, read.etag)
        return false
    }
  }

  async #writeContacts(foreignId: number, contacts: readonly PulledContact[], etag: string | null): Promise<void> {
    this.#signal.throwIfAborted()
    try {
      this.#count(await pullContacts(this.#ctx, this.#from, { organizationForeignId: foreignId, contacts, etag }))
    } catch (error) {
      const count = contacts.length
      if (error instanceof NotFoundError) this.#contactsFailed(foreignId, count, [error.message])
      else if (error instanceof ValidationError)
        this.#contactsFailed(
          foreignId,
          count,
          error.issues.map((issue) => reasonOf(issue, contacts)),
        )
      else throw error
    }
  }

  async #remove(foreignId: number): Promise<void> {
    this.#signal.throwIfAborted()
    const gone = { organizationForeignId: foreignId, contacts: [], etag: null, isGone: true }
    this.#count(await pullContacts(this.#ctx, this.#from, gone))
    this.#result.organizations.deleted += 1
  }

  #count({ created, updated, unchanged, deleted }: Omit<Counts, 'failed'>): void {
    const { contacts } = this.#result
    contacts.created += created
    contacts.updated += updated
    contacts.unchanged += unchanged
    contacts.deleted += deleted
  }

  /** An organization was refused, with all that it has. */
  #failed(message: string): void {
    this.#result.organizations.failed += 1
    this.#options.tell(message)
  }

  #contactsFailed(organization: number, count: number, reasons: readonly string[]): void {
    this.#result.contacts.failed += count
    this.#options.tell(`The contacts of organization ${organization} were left as they are: ${reasons.join(' ')}`)
  }

  /** Works at several at once. When one fails, the others end as soon as they can, and the failure is thrown then. */
  async #each<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
    const left = items.values()
    const worker = async () => {
      for (const item of left) {
        this.#signal.throwIfAborted()
        await work(item)
      }
    }
    const workers = Array.from({ length: organizationsAtOnce }, () =>
      worker().catch((error: unknown) => {
        this.#stop.abort(error)
        throw error
      }),
    )
    await Promise.allSettled(workers)
    this.#signal.throwIfAborted()
  }
}

/** With the contact that it is about. */
function reasonOf({ path: [list, place], message }: Issue, contacts: readonly PulledContact[]): string {
  const contact = list === 'contacts' ? contacts[Number(place)] : undefined
  return contact ? `contact ${contact.foreignId}: ${message}` : message
}
