import type { Channel } from '../db/tables.ts'
import { channelNames } from '../domain/channels.ts'
import {
  contactListArguments,
  contactPages,
  contactSummaryPages,
  countContactsOf,
  listOrder,
} from '../domain/contact-lists.ts'
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
import { issuesOf, readFlag } from '../domain/parse.ts'
import { plainError } from './errors.ts'
import { type Fields, readFields, show } from './fields.ts'
import { pageHeaders, readPage } from './pages.ts'
import type { Call, Reply, Route } from './router.ts'
import { tagOf, versionsIn } from './tags.ts'

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
/** What a summary does not have. */
const detailFields = new Set(['created_at', 'updated_at'])
export const singleFields = ['id', 'label', ...channelNames, 'integration']

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

const contactIdOf = ({ params }: Call) => readId(contactId, params.contact_id)

async function findContact(call: Call): Promise<Contact | undefined> {
  const [id, organization] = [contactIdOf(call), organizationOf(call)]
  const [contact] = await findContacts(call.ctx, [id])
  return contact?.organizationId === organization ? contact : undefined
}

async function list(call: Call): Promise<Reply> {
  const { ctx, url } = call
  const id = organizationOf(call)
  const fields = readFields(url, contactFields, listedFields)
  const { perPage, list } = readPage(url, contactListArguments)
  const readPages = fields.some((name) => detailFields.has(name)) ? contactPages : contactSummaryPages
  const [[page], total] = await Promise.all([
    readPages(ctx, [id], list.page, list.filter),
    countContactsOf(ctx, id, list.filter),
  ])
  if (total === undefined) throw plainError(404)
  return {
    status: 200,
    // The fields of a summary are shown of a summary.
    body: page!.rows.map((contact) => show(contact as Contact, contactFields, fields)),
    headers: pageHeaders(url, page!, listOrder, perPage, total),
  }
}

async function get(call: Call): Promise<Reply> {
  const fields = readFields(call.url, contactFields, singleFields)
  const contact = await findContact(call)
  if (!contact) throw plainError(404)
  return { status: 200, ...shown(contact, fields) }
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
  requirePermission(call.ctx, 'contacts:write')
  const fields = readFields(call.url, contactFields, singleFields)
  const contact = await findContact(call)
  const updated = await (contact ? change(call, contact.channel) : changeMissing(call))
  return { status: 200, ...shown(updated, fields) }
}

/** Changes a contact, which is of the channel. */
async function change(call: Call, channel: Channel): Promise<Contact> {
  const { ctx, body } = call
  if (othersIn(body, channel).length > 0) throw new ValidationError(issuesOfChange(body, channel))
  return updateContact(ctx, { ...namedIn(call), change: changeIn(body, channel) })
}

/**
 * Repeats of a change may come when its contact has gone. The verb still knows the first answer; until it is asked, any
 * channel will do under which the body can have been accepted.
 */
async function changeMissing(call: Call): Promise<Contact> {
  const channel = call.ctx.once && channelNames.find((name) => issuesOfChange(call.body, name).length === 0)
  if (!channel) throw plainError(404)
  return change(call, channel)
}

async function remove(call: Call): Promise<Reply> {
  requirePermission(call.ctx, 'contacts:write')
  await removeContact(call.ctx, namedIn(call))
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

/** Which contact of which organization, and at which versions. */
const namedIn = (call: Call) => ({
  id: contactIdOf(call),
  organizationId: organizationOf(call),
  ifOneOfVersions: versionsIn(call.headers.get('if-match')),
})

const changeIn = (body: Call['body'], channel: Channel) => ({
  [channel]: { ...partsOf(body), ...(channel in body && { value: body[channel] }) },
})

/** The channels that a body names beside the one of the contact. */
const othersIn = (body: Call['body'], channel: Channel) =>
  channelNames.filter((name) => name !== channel && (body[name] ?? null) !== null)

const issuesOfChange = (body: Call['body'], channel: Channel): Issue[] => [
  ...issuesOf(contactChange, changeIn(body, channel)),
  ...othersIn(body, channel).map((other) => channelFixed([], other, channel)),
]

/** The parts that every channel has, as far as the body gives them. */
function partsOf(body: Call['body']): { label?: unknown; integration?: unknown } {
  return {
    ...('label' in body && { label: body.label }),
    ...('integration' in body && { integration: readFlag(body.integration) }),
  }
}

/** A list has no strong tag, so a condition on it never holds; better to say so than to act as if there were none. */
function refuseConditions({ headers }: Call): void {
  const given = headers.get('if-match')?.trim()
  if (given && given !== '*') throw plainError(412)
}
