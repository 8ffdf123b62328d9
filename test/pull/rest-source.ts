import { createHash } from 'node:crypto'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'

const channelOrder = ['telephone', 'email', 'website'] as const
const labelOrder = ['general', 'service_desk', 'fax', 'service_desk_fax'] as const

export interface SourceContact {
  id: number
  label: string
  channel: (typeof channelOrder)[number]
  value: string
  integration: boolean
}

export interface SourceOrganization {
  id: number
  name: string
  parentId: number | null
  disabled: boolean
  source: string | null
  sourceID: string | null
  updatedAt: string
  contacts: SourceContact[]
}

export interface SeenRequest {
  at: number
  method: string
  /** Path and query. */
  url: string
  headers: IncomingHttpHeaders
  /** Undefined while there is no answer. */
  status: number | undefined
}

interface Reply {
  status: number
  body: unknown
  headers?: Record<string, string>
}

const missing: Reply = { status: 404, body: { message: 'Not Found' } }

/** What happens instead of an answer. */
export type Fault = (res: ServerResponse, answer: () => void) => void

export interface RestSource {
  /** The base of the API. */
  readonly url: string
  readonly token: string
  /** What it holds; tests change it as they like. */
  readonly organizations: Map<number, SourceOrganization>
  add(given?: Partial<SourceOrganization>): SourceOrganization
  addContact(organization: SourceOrganization, given?: Partial<SourceContact>): SourceContact
  readonly requests: SeenRequest[]
  /** The requests since the last call, as path and query. */
  take(): string[]
  /** How many requests were under way at once, at most. */
  readonly mostAtOnce: number
  readonly underWay: number
  /** The next requests whose path and query match meet the fault. */
  fail(fault: Fault, options?: { on?: RegExp; times?: number }): void
  /** Runs before each answer, with path and query. */
  before: (url: string) => void | Promise<void>
  /** What becomes of the answer's items just before they are sent. */
  distort: (items: Record<string, unknown>[], url: string) => unknown
  /** Which fields it knows; whether it knows the parameter at all. */
  readonly fields: { organization: string[]; contact: string[]; ofListedContact: string[]; areIgnored: boolean }
  /** Whether it says how many entries there are. */
  tellsTotals: boolean
  tellsTags: boolean
  hasRelativeLinks: boolean
}

export const answer =
  (status: number, headers: Record<string, string> = {}, body = '{"message":"Fault"}'): Fault =>
  (res) =>
    res.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)

/** Announces more than it sends, and hangs up. */
export const cut: Fault = (res) => {
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
  res.write('[{"id":1,', () => res.destroy())
}

/** Hangs up without a word. */
export const hangUp: Fault = (res) => void res.destroy()

/** An answer that waits for something. */
export const onceSettled =
  (condition: Promise<unknown>): Fault =>
  (_, go) =>
    void condition.then(go)

const orderOf = ({ channel, label, id }: SourceContact) =>
  (channelOrder.indexOf(channel) * labelOrder.length + labelOrder.indexOf(label as (typeof labelOrder)[number])) * 1e9 +
  id

/** A server that speaks the REST API, made from its description alone. Its pages go by position, so they shift. */
export async function startRestSource(): Promise<RestSource> {
  const faults: { fault: Fault; on: RegExp; left: number }[] = []
  const organizations = new Map<number, SourceOrganization>()
  let lastId = 100
  let underWay = 0
  let taken = 0

  const source = {
    url: '',
    token: 'a-token-of-the-source',
    organizations,
    requests: [] as SeenRequest[],
    mostAtOnce: 0,
    get underWay() {
      return underWay
    },
    before: () => {},
    distort: (items: Record<string, unknown>[]) => items,
    fields: {
      organization: ['id', 'name', 'parent', 'disabled', 'source', 'sourceID', 'updated_at'],
      contact: ['id', 'label', 'telephone', 'email', 'website', 'integration', 'updated_at'],
      ofListedContact: ['label', 'id', 'telephone', 'email', 'website'],
      areIgnored: false,
    },
    tellsTotals: true,
    tellsTags: true,
    hasRelativeLinks: false,
    add(given: Partial<SourceOrganization> = {}) {
      lastId += 1
      const id = given.id ?? lastId
      const plain = { parentId: null, disabled: false, source: null, sourceID: null, contacts: [] }
      const organization = { ...plain, id, name: `There ${id}`, updatedAt: '2026-01-01T00:00:00Z', ...given }
      organizations.set(id, organization)
      return organization
    },
    addContact(organization: SourceOrganization, given: Partial<SourceContact> = {}) {
      lastId += 1
      const plain = { id: lastId, label: 'general', channel: 'email' as const, integration: false }
      const contact = { ...plain, value: `info${lastId}@there.example`, ...given }
      organization.contacts.push(contact)
      return contact
    },
    take() {
      const urls = source.requests.slice(taken).map(({ url }) => url)
      taken = source.requests.length
      return urls
    },
    fail(fault: Fault, { on = /./, times = 1 }: { on?: RegExp; times?: number } = {}) {
      faults.push({ fault, on, left: times })
    },
  } satisfies RestSource as RestSource & { mostAtOnce: number; url: string }

  const organizationFields: Record<string, (organization: SourceOrganization) => unknown> = {
    id: ({ id }) => id,
    name: ({ name }) => name,
    parent: ({ parentId }) =>
      parentId === null ? null : { id: parentId, name: organizations.get(parentId)?.name ?? 'elsewhere' },
    disabled: ({ disabled }) => disabled,
    source: ({ source: given }) => given,
    sourceID: ({ sourceID }) => sourceID,
    updated_at: ({ updatedAt }) => updatedAt,
  }
  const contactFields: Record<string, (contact: SourceContact) => unknown> = {
    id: ({ id }) => id,
    label: ({ label }) => label,
    ...Object.fromEntries(
      channelOrder.map((name) => [name, ({ channel, value }: SourceContact) => (channel === name ? value : undefined)]),
    ),
    integration: ({ integration }) => integration,
    updated_at: () => '2026-01-01T00:00:00Z',
  }
  const shown = <Row>(row: Row, of: Record<string, (row: Row) => unknown>, names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [name, of[name]!(row)]))

  function listOf<Row>(url: URL, rows: readonly Row[], show: (row: Row) => Record<string, unknown>): Reply {
    const perPage = Number(url.searchParams.get('per_page') ?? 20)
    if (perPage < 1) return { status: 400, body: { message: "Parameter 'per_page' cannot be less than 1" } }
    const at = Number(Buffer.from(url.searchParams.get('search_after') ?? '', 'base64url').toString() || 0)
    const target = (offset: number) => {
      const to = new URL(url)
      if (offset > 0) to.searchParams.set('search_after', Buffer.from(String(offset)).toString('base64url'))
      else to.searchParams.delete('search_after')
      return source.hasRelativeLinks ? `${to.pathname}${to.search}` : to.href
    }
    const next = at + perPage < rows.length ? [`<${target(at + perPage)}>; rel="next"`] : []
    return {
      status: 200,
      body: source.distort(rows.slice(at, at + perPage).map(show), `${url.pathname}${url.search}`),
      headers: {
        link: [`<${target(0)}>; rel="first"`, ...next].join(', '),
        'x-pagination-per-page': String(perPage),
        ...(source.tellsTotals && { 'x-pagination-total-entries': String(rows.length) }),
      },
    }
  }

  function reply(url: URL): Reply {
    const asked = source.fields.areIgnored ? null : url.searchParams.get('fields')
    const withFields = (known: string[], byDefault: string[], make: (names: string[]) => Reply): Reply => {
      const names = asked?.split(',') ?? byDefault
      const unknown = names.filter((name) => !known.includes(name))
      if (unknown.length === 0) return make(names)
      return { status: 400, body: { message: `Unknown fields: ${unknown.join(', ')}` } }
    }
    const [path, organizationId, contactsPart, contactId] =
      /^\/v1\/organizations(?:\/(\d+)(?:(\/contacts)(?:\/(\d+))?)?)?$/.exec(url.pathname) ?? []
    if (path === undefined) return missing
    const { organization: known, contact: knownOfContact, ofListedContact } = source.fields
    if (organizationId === undefined) {
      const rows = [...organizations.values()].toSorted((a, b) => a.id - b.id)
      return withFields(known, known, (names) => listOf(url, rows, (row) => shown(row, organizationFields, names)))
    }
    const organization = organizations.get(Number(organizationId))
    if (!organization) return missing
    if (contactsPart === undefined)
      return withFields(known, known, (names) => ({
        status: 200,
        body: shown(organization, organizationFields, names),
      }))
    if (contactId === undefined) {
      const rows = organization.contacts.toSorted((a, b) => orderOf(a) - orderOf(b))
      return withFields(knownOfContact, ofListedContact, (names) =>
        listOf(url, rows, (row) => shown(row, contactFields, names)),
      )
    }
    const contact = organization.contacts.find(({ id }) => id === Number(contactId))
    if (!contact) return missing
    return { status: 200, body: shown(contact, contactFields, ['id', 'label', ...channelOrder, 'integration']) }
  }

  function send(req: IncomingMessage, res: ServerResponse): void {
    const isKnownCaller = req.headers.authorization === `Bearer ${source.token}`
    const { status, body, headers } = isKnownCaller
      ? reply(new URL(req.url!, source.url))
      : { status: 401, body: { message: 'Unauthorized' } }
    const text = JSON.stringify(body)
    const etag = `W/"${createHash('sha1').update(text).digest('hex')}"`
    const hasTag = status === 200 && source.tellsTags
    const isUnchanged = hasTag && req.headers['if-none-match'] === etag
    res.writeHead(isUnchanged ? 304 : status, {
      'content-type': 'application/json',
      ...(hasTag && { etag }),
      ...headers,
    })
    res.end(isUnchanged ? undefined : text)
  }

  const server = createServer(async (req, res) => {
    const { method, url, headers } = req as Required<IncomingMessage>
    const seen: SeenRequest = { at: performance.now(), method, url, headers, status: undefined }
    source.requests.push(seen)
    underWay += 1
    source.mostAtOnce = Math.max(source.mostAtOnce, underWay)
    res.once('close', () => {
      underWay -= 1
      seen.status = res.headersSent ? res.statusCode : undefined
    })
    await source.before(url)
    const found = faults.find(({ on, left }) => left > 0 && on.test(url))
    const go = () => send(req, res)
    if (!found) return go()
    found.left -= 1
    found.fault(res, go)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  source.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  return source
}
