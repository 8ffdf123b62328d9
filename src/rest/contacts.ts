import type { Channel } from '../db/tables.ts'
import { channelNames } from '../domain/channels.ts'
import { contactListArguments, contactPages, countContacts, listOrder } from '../domain/contact-lists.ts'
import {
  addContact,
  type Contact,
  channelFixed,
  clearContacts,
  contactChange,
  contactId,
  findContacts,
  newContact,
  organizationId,
  partsWithoutChannel,
  removeContact,
  updateContact,
} from '../domain/contacts.ts'
import { requirePermission } from '../domain/context.ts'
import { type Issue, ValidationError } from '../domain/errors.ts'
import { organizationExists } from '../domain/organizations.ts'
import { issuesOf } from '../domain/parse.ts'
import { plainError } from './errors.ts'
import { type Fields, readFields, show } from './fields.ts'
import { pageHeaders, readPage } from './pages.ts'
import type { Call, Reply, Route } from './router.ts'

export const contactFields: Fields<Contact> = {
  id: ({ id }) => id,
  label: ({ label }) => label,
  ...Object.fromEntries(
    channelNames.map((name) => [name, ({ channel, value }: Contact) => (channel === name ? value : undefined)]),
  ),
  integration: ({ integration }) => integration,
  created_at: ({ createdAt }) => createdAt.toISOString(),
  updated_at: ({ updatedAt }) => updatedAt.toISOString(),
}

/** The order of the keys is the source's, and differs between the two. */
export const listedFields = ['label', 'id', ...channelNames]
const singleFields = ['id', 'label', ...channelNames, 'integration']

const collection = '/organizations/:organization_id/contacts'
const single = `${collection}/:contact_id`

export const contactRoutes: readonly Route[] = [
  { method: 'GET', path: collection, handle: list },
  { method: 'POST', path: collection, handle: add },
  { method: 'DELETE', path: collection, handle: clear },
  { method: 'GET', path: single, handle: get },
  { method: 'PATCH', path: single, handle: update },
  { method: 'PUT', path: single, handle: update },
  { method: 'DELETE', path: single, handle: remove },
]

/** An id of the path, which may be none: then there is no such object. */
export function readId(schema: typeof organizationId, text: string | undefined): number {
  const id = schema.safeParse(text)
  if (!id.success) throw plainError(404)
  return id.data
}

const organizationOf = ({ params }: Call) => readId(organizationId, params.organization_id)

async function contactOf(call: Call): Promise<Contact> {
  const [contact] = await findContacts(call.ctx, [readId(contactId, call.params.contact_id)])
  if (!contact || contact.organizationId !== organizationOf(call)) throw plainError(404)
  return contact
}

async function list(call: Call): Promise<Reply> {
  const { ctx, url } = call
  const id = organizationOf(call)
  const fields = readFields(url, contactFields, listedFields)
  const { perPage, list } = readPage(url, contactListArguments)
  const [isThere, [page], [total]] = await Promise.all([
    organizationExists(ctx, id),
    contactPages(ctx, [id], list.page, list.filter),
    countContacts(ctx, [id], list.filter),
  ])
  if (!isThere) throw plainError(404)
  return {
    status: 200,
    body: page!.rows.map((contact) => show(contact, contactFields, fields)),
    headers: pageHeaders(url, page!, listOrder, perPage, total!),
  }
}

async function get(call: Call): Promise<Reply> {
  const fields = readFields(call.url, contactFields, singleFields)
  return { status: 200, ...shown(await contactOf(call), fields) }
}

async function add(call: Call): Promise<Reply> {
  const { ctx, url, body } = call
  requirePermission(ctx, 'contacts:write')
  const fields = readFields(url, contactFields, singleFields)
  refuseConditions(call)
  const id = organizationOf(call)
  const named = channelNames.filter((channel) => (body[channel] ?? null) !== null)
  if (named.length === 0)
    throw new ValidationError([...issuesOf(partsWithoutChannel, partsOf(body)), ...issuesOf(newContact, {})])
  const contact = Object.fromEntries(named.map((channel) => [channel, { ...partsOf(body), value: body[channel] }]))
  const added = await addContact(ctx, { organizationId: id, contact })
  const location = `${url.pathname.replace(/(\.json)?\/?$/, '')}/${added.id}`
  return { status: 201, headers: { location }, ...shown(added, fields) }
}

async function update(call: Call): Promise<Reply> {
  const { ctx, url, body } = call
  requirePermission(ctx, 'contacts:write')
  const fields = readFields(url, contactFields, singleFields)
  const contact = await contactOf(call)
  const { channel, id, organizationId } = contact
  const change = { [channel]: { ...partsOf(body), ...(channel in body && { value: body[channel] }) } }
  const others = channelNames.filter((name) => name !== channel && (body[name] ?? null) !== null)
  if (others.length > 0)
    throw new ValidationError([...issuesOf(contactChange, change), ...others.map(fixedFor(channel))])
  const updated = await updateContact(ctx, { id, organizationId, ifVersion: expectedVersion(call, contact), change })
  return { status: 200, ...shown(updated, fields) }
}

async function remove(call: Call): Promise<Reply> {
  requirePermission(call.ctx, 'contacts:write')
  const contact = await contactOf(call)
  const { id, organizationId } = contact
  await removeContact(call.ctx, { id, organizationId, ifVersion: expectedVersion(call, contact) })
  return { status: 204 }
}

async function clear(call: Call): Promise<Reply> {
  requirePermission(call.ctx, 'contacts:write')
  refuseConditions(call)
  await clearContacts(call.ctx, { organizationId: organizationOf(call) })
  return { status: 204 }
}

const shown = (contact: Contact, fields: readonly string[]) => ({
  body: show(contact, contactFields, fields),
  etag: tagOf(contact.version),
})

const fixedFor =
  (channel: Channel) =>
  (other: Channel): Issue =>
    channelFixed([], other, channel)

/** The parts that every channel has, as far as the body gives them. */
function partsOf(body: Call['body']): { label?: unknown; integration?: unknown } {
  return {
    ...('label' in body && { label: body.label }),
    ...('integration' in body && { integration: readBoolean(body.integration) }),
  }
}

const words: Record<string, boolean> = Object.fromEntries([
  ...['1', 'T', 'Y', 'TRUE', 'YES', 'ON'].map((word) => [word, true]),
  ...['0', 'F', 'N', 'FALSE', 'NO', 'OFF'].map((word) => [word, false]),
])

/** The source also takes words for a boolean. What is none is left for the rule to refuse. */
const readBoolean = (given: unknown) =>
  typeof given === 'string' ? (words[given.trim().toUpperCase()] ?? given) : given

const tagOf = (version: number) => `"v${version}"`

/** No contact ever gets there. */
const noVersion = 2 ** 31 - 1

/** The version that If-Match asks for; null where any will do. Of several tags, the one that the contact has counts. */
function expectedVersion({ headers }: Call, { version }: Contact): number | null {
  const given = headers.get('if-match')?.trim()
  if (!given || given === '*') return null
  const tags = given.split(',').map((tag) => tag.trim())
  if (tags.includes(tagOf(version))) return version
  const [expected] = tags.flatMap((tag) => /^"v([1-9]\d{0,8})"$/.exec(tag)?.[1] ?? [])
  return expected === undefined ? noVersion : Number(expected)
}

/** A list has no strong tag, so a condition on it never holds; better to say so than to act as if there were none. */
function refuseConditions({ headers }: Call): void {
  const given = headers.get('if-match')?.trim()
  if (given && given !== '*') throw plainError(412)
}
