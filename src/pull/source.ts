import { channelNames } from '../domain/channels.ts'
import { quote } from '../domain/parse.ts'
import type { PulledContact, PulledOrganization } from '../domain/pull.ts'
import { type Answer, type Client, SourceError } from './client.ts'

const perPage = 100
/** A list that changes while it is read is read again so often. */
const maxReadings = 4

/** A row that cannot be what it should be. */
export interface Faulty {
  /** Undefined where not even that can be read. */
  foreignId: number | undefined
  reason: string
}

export interface OrganizationsRead {
  rows: PulledOrganization[]
  faulty: Faulty[]
  /** Whether an organization that is not among them is certainly not there. */
  isCertain: boolean
}

export type ContactsRead =
  /** They are as they were when the tag was given, or there is no such organization. */
  | { kind: 'unchanged' | 'missing' }
  | { kind: 'faulty'; reasons: string[]; count: number }
  /** `etag` is null where it does not stand for the whole list. */
  | { kind: 'read'; rows: PulledContact[]; etag: string | null }

type Item = Record<string, unknown>

/** What was read of one item: a row, with whether the list says all that is needed of it; or what is wrong with it. */
type Row<Kind> = Kind & { foreignId: number }

interface ListRead<Kind> {
  kind: 'list'
  rows: Map<number, Row<Kind>>
  faulty: Faulty[]
  pages: number
  /** Entries of the list, as far as it tells. */
  total: number
  etag: string | null
  isFull: boolean
  isComplete: boolean
}

interface ListedContact extends PulledContact {
  tellsIntegration: boolean
}

/** A list with the fields that it is asked for. What the server does not know is left out from then on. */
interface FieldList {
  of: string
  names: readonly string[]
}

/** Organizations and their contacts, as a REST API has them. What is odd about it, but does not hinder, is told. */
export class Source {
  readonly #client: Client
  readonly #tell: (warning: string) => void
  readonly #organizationFields: FieldList = {
    of: 'organizations',
    names: ['id', 'name', 'parent', 'disabled', 'source', 'sourceID', 'updated_at'],
  }
  readonly #contactFields: FieldList = { of: 'contacts', names: ['id', 'label', ...channelNames, 'integration'] }
  readonly #told = new Set<string>()

  constructor(client: Client, tell: (warning: string) => void) {
    this.#client = client
    this.#tell = tell
  }

  async organizations(signal: AbortSignal): Promise<OrganizationsRead> {
    const read = await this.#readList('/organizations', this.#organizationFields, readOrganization, signal)
    if (read.kind !== 'list')
      throw new SourceError(`There is no ${this.#client.base.href}/organizations: is it the base of the API?`)
    return {
      rows: [...read.rows.values()],
      faulty: read.faulty,
      isCertain: read.pages === 1 && read.isComplete && read.faulty.every(({ foreignId }) => foreignId !== undefined),
    }
  }

  /** One organization; undefined where there is none. */
  async organization(foreignId: number, signal: AbortSignal): Promise<PulledOrganization | Faulty | undefined> {
    const fields = this.#organizationFields
    for (;;) {
      const asked = fields.names
      const target = this.#client.at(`/organizations/${foreignId}${fieldsIn(asked, '?')}`)
      const answer = await this.#client.get(target, { signal })
      if (answer.status === 404) return undefined
      if (answer.status === 200) return readItem(answer.body, this.#client.describe(target), readOrganization)
      this.#leaveOut(fields, asked, answer, target)
    }
  }

  /**
   * The contacts of an organization. `known` are the foreign ids that it had before: those of them that a list of several
   * pages does not show are asked for one by one before they count as gone.
   */
  async contacts(
    organization: number,
    { etag, known, signal }: { etag: string | null; known: () => Promise<readonly number[]>; signal: AbortSignal },
  ): Promise<ContactsRead> {
    const path = `/organizations/${organization}/contacts`
    const read = await this.#readList(path, this.#contactFields, readContact, signal, etag)
    if (read.kind !== 'list') return read
    const { rows, faulty, isComplete } = read
    if ([...rows.values()].some(({ tellsIntegration }) => !tellsIntegration)) {
      this.#tellOnce(
        'The source does not show `integration` in lists: each contact of a list that has changed is read by itself.',
      )
    }
    if (read.pages > 1 || !isComplete) {
      for (const id of await known())
        if (!rows.has(id)) rows.set(id, { foreignId: id, contact: undefined, tellsIntegration: false })
    }
    const whole = await Promise.all(
      [...rows.values()].map((row) => (row.tellsIntegration ? row : this.#contact(path, row.foreignId, signal))),
    )
    const contacts: PulledContact[] = []
    for (const row of whole) {
      if (row === undefined) continue
      if ('reason' in row) faulty.push(row)
      else contacts.push({ foreignId: row.foreignId, contact: row.contact })
    }
    if (faulty.length > 0)
      return { kind: 'faulty', reasons: faulty.map(({ reason }) => reason), count: faulty.length + contacts.length }
    // The tag is that of the first page: of a full one it would stay the same if another page came.
    const isTagOfAll = read.pages === 1 && isComplete && !read.isFull
    return { kind: 'read', rows: contacts, etag: isTagOfAll ? read.etag : null }
  }

  async #contact(path: string, foreignId: number, signal: AbortSignal): Promise<ListedContact | Faulty | undefined> {
    const target = this.#client.at(`${path}/${foreignId}`)
    const answer = await this.#client.get(target, { signal })
    if (answer.status === 404) return undefined
    if (answer.status !== 200) throw this.#refused(answer, target)
    return readItem(answer.body, this.#client.describe(target), readContact)
  }

  async #readList<Kind>(
    path: string,
    fields: FieldList,
    read: (item: Item, foreignId: number) => Row<Kind> | Faulty,
    signal: AbortSignal,
    etag: string | null = null,
  ): Promise<ListRead<Kind> | { kind: 'unchanged' | 'missing' }> {
    const seen = new Map<number, Row<Kind>>()
    for (let reading = 1; ; reading += 1) {
      const list = await this.#readOnce(path, fields, read, signal, reading === 1 ? etag : null)
      if (list.kind !== 'list' || list.isComplete) return list
      for (const [id, row] of list.rows) seen.set(id, row)
      const isComplete = seen.size + list.faulty.length >= list.total
      if (isComplete) return { ...list, rows: seen, isComplete }
      if (reading < maxReadings) continue
      this.#tell(
        `${path} changed each time while it was read: ${seen.size} of ${list.total} entries were seen. The next pull sees the rest.`,
      )
      return { ...list, rows: seen }
    }
  }

  async #readOnce<Kind>(
    path: string,
    fields: FieldList,
    read: (item: Item, foreignId: number) => Row<Kind> | Faulty,
    signal: AbortSignal,
    etag: string | null,
  ): Promise<ListRead<Kind> | { kind: 'unchanged' | 'missing' }> {
    const asked = fields.names
    const first = this.#client.at(`${path}?per_page=${perPage}${fieldsIn(asked, '&')}`)
    const list: ListRead<Kind> = {
      ...{ kind: 'list', rows: new Map(), faulty: [], pages: 0, total: 0, etag: null, isFull: false },
      isComplete: true,
    }
    for await (const answer of this.#client.pages(first, { signal, etag })) {
      if (answer.status === 304) return { kind: 'unchanged' }
      if (answer.status === 404) return { kind: 'missing' }
      if (answer.status === 400) {
        this.#leaveOut(fields, asked, answer, first)
        return this.#readOnce(path, fields, read, signal, etag)
      }
      if (!Array.isArray(answer.body))
        throw new SourceError(`${this.#client.describe(first)} answered ${kindOf(answer.body)} where a list should be.`)
      list.pages += 1
      answer.body.forEach((item, place) => {
        const row = readItem(item, `item ${place + 1} of page ${list.pages} of ${path}`, read)
        if ('reason' in row) list.faulty.push(row)
        else {
          // Pages that shift show a row twice; the later one is newer, and comes last.
          list.rows.delete(row.foreignId)
          list.rows.set(row.foreignId, row)
        }
      })
      list.etag = answer.etag
      list.isFull = answer.body.length >= (answer.perPage ?? perPage)
      // Where one goes while the pages are read, another slips by: then the count at the beginning tells.
      list.total = Math.max(list.total, answer.total ?? 0)
    }
    list.isComplete = list.rows.size + list.faulty.length >= list.total
    return list
  }

  /** Leaves out what the answer says to be unknown. Throws where that is not what it says. */
  #leaveOut(fields: FieldList, asked: readonly string[], answer: Answer, target: URL): void {
    const [, list] = /^Unknown fields?: (.+)$/.exec(messageOf(answer)) ?? []
    const unknown = new Set(list?.split(',').map((name) => name.trim()))
    // Of several requests at once the first one to be refused has learnt it for all.
    if (asked !== fields.names) return
    if (!asked.some((name) => unknown.has(name))) throw this.#refused(answer, target)
    fields.names = asked.filter((name) => !unknown.has(name))
    this.#tell(
      `The source does not know these fields of ${fields.of}, and is not asked for them: ${this.#client.quote([...unknown].join(', '))}.`,
    )
  }

  #refused(answer: Answer, target: URL): SourceError {
    const message = this.#client.quote(messageOf(answer))
    return new SourceError(`${this.#client.describe(target)} answered ${answer.status}${message && `: ${message}`}.`)
  }

  #tellOnce(warning: string): void {
    if (this.#told.has(warning)) return
    this.#told.add(warning)
    this.#tell(warning)
  }
}

const fieldsIn = (names: readonly string[], before: string) =>
  names.length > 0 ? `${before}fields=${names.join(',')}` : ''

const isObject = (value: unknown): value is Item => typeof value === 'object' && value !== null && !Array.isArray(value)

const messageOf = ({ body }: Answer) => (isObject(body) && typeof body.message === 'string' ? body.message : '')

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/** An integer, or one as a text; undefined where it is none that can be kept. */
function readId(given: unknown): number | undefined {
  if (typeof given !== 'number' && typeof given !== 'string') return undefined
  if (!/^[1-9]\d{0,15}$/.test(String(given))) return undefined
  return Number.isSafeInteger(Number(given)) ? Number(given) : undefined
}

function readItem<Kind>(
  item: unknown,
  where: string,
  read: (item: Item, foreignId: number) => Row<Kind> | Faulty,
): Row<Kind> | Faulty {
  if (!isObject(item)) return { foreignId: undefined, reason: `${where} is ${kindOf(item)} where an object should be.` }
  const foreignId = readId(item.id)
  if (foreignId !== undefined) return read(item, foreignId)
  const what = item.id === undefined ? 'has no id' : `has the id ${quote(item.id)}, which is no positive integer`
  return { foreignId: undefined, reason: `${where} ${what}.` }
}

function readOrganization(item: Item, foreignId: number): PulledOrganization | Faulty {
  const { parent, updated_at: updatedAt } = item
  const parentForeignId = readId(isObject(parent) ? parent.id : parent) ?? null
  if (parentForeignId === null && (parent ?? null) !== null)
    return { foreignId, reason: `Its parent ${quote(parent)} names no organization by a positive integer.` }
  return {
    foreignId,
    name: item.name,
    parentForeignId,
    disabled: item.disabled,
    source: item.source === '' ? null : item.source,
    sourceID: item.sourceID === '' ? null : item.sourceID,
    updatedAt: typeof updatedAt === 'string' ? updatedAt : null,
  }
}

/** Whether it is one contact of one channel is for the rules to say. */
function readContact(item: Item, foreignId: number): ListedContact {
  const given = channelNames.filter((name) => (item[name] ?? null) !== null)
  const { label, integration } = item
  return {
    foreignId,
    contact: Object.fromEntries(given.map((name) => [name, { label, value: item[name], integration }])),
    tellsIntegration: integration !== undefined,
  }
}
