import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { json as readJson } from 'node:stream/consumers'
import postgres from 'postgres'
import { childrenInPage, contactsInPage, organizationsInPage, rootsInPage } from '../workloads.ts'
import { closeOnSignal, host, settings } from './settings.ts'

// What everything else is measured by: the least that a server on Node with postgres.js can do for the same answers. Each
// path runs its prepared statements and puts JSON together; there is no schema, no check and no limit.

const sql = postgres(settings.databaseUrl, {
  max: settings.poolSize,
  fetch_types: false,
  types: { bigint: { to: 20, from: [20], serialize: String, parse: Number } },
})
const { account } = settings

const organizationColumns = 'id, name, disabled'
const pageStatement = `select ${organizationColumns} from organizations where account_id = $1 order by name limit $2`
const rootsStatement = `select ${organizationColumns} from organizations
  where account_id = $1 and parent_id is null order by name limit $2`
const childrenStatement = `select child.* from unnest($2::bigint[]) as parent(id) cross join lateral (
    select o.parent_id, o.id, o.name from organizations o
    where o.account_id = $1 and o.parent_id = parent.id order by o.name limit $3
  ) child`
const oneStatement = `select ${organizationColumns} from organizations where account_id = $1 and id = $2`
const contactsStatement = `select contact.* from unnest($2::bigint[]) as owner(id) cross join lateral (
    select c.organization_id, c.id, c.channel, c.label, c.value, c.integration from contacts c
    where c.account_id = $1 and c.organization_id = owner.id order by c.channel, c.label, c.id limit $3
  ) contact`
const addStatement = `with organization as (
    update organizations set contacts_revision = contacts_revision + 1
    where account_id = $1 and id = $2 returning account_id, id
  ), added as (
    insert into contacts (account_id, organization_id, channel, label, value, integration)
    select account_id, id, $3::contact_channel, $4::contact_label, $5, $6 from organization returning *
  ), looked_up as (
    insert into contact_lookups (account_id, channel, key, contact_id)
    select account_id, channel, lower(value), id from added
  )
  select id, channel, label, value, integration, version, created_at, updated_at from added`

type Cell = string | number | boolean

const run = <Row extends unknown[]>(text: string, cells: Cell[]) =>
  sql.unsafe(text, cells as never[], { prepare: true }).values() as unknown as Promise<Row[]>

const listOf = (ids: number[]) => `{${ids.join()}}`

type OrganizationRow = [id: number, name: string, disabled: boolean]
type ChildRow = [parentId: number, id: number, name: string]
type ContactRow = [owner: number, id: number, channel: string, label: string, value: string, integration: boolean]
type AddedRow = [number, string, string, string, boolean, version: number, createdAt: Date, updatedAt: Date]

const upper: Record<string, string> = Object.fromEntries(
  ['telephone', 'email', 'website', 'general', 'service_desk', 'fax', 'service_desk_fax'].map((name) => [
    name,
    name.toUpperCase(),
  ]),
)

/** The contacts of each organization, as their list shows them. */
async function contactsOf<Shown>(ids: number[], show: (row: ContactRow) => Shown): Promise<Map<number, Shown[]>> {
  const lists = new Map<number, Shown[]>(ids.map((id) => [id, []]))
  for (const row of await run<ContactRow>(contactsStatement, [account, listOf(ids), contactsInPage])) {
    lists.get(row[0])!.push(show(row))
  }
  return lists
}

const showContact = ([, databaseId, channel, label, value, integration]: ContactRow) => ({
  databaseId,
  channel: upper[channel],
  label: upper[label],
  value,
  integration,
})

async function nested() {
  const rows = await run<OrganizationRow>(pageStatement, [account, organizationsInPage])
  const contacts = await contactsOf(
    rows.map(([id]) => id),
    showContact,
  )
  const nodes = rows.map(([databaseId, name, disabled]) => ({
    databaseId,
    name,
    disabled,
    contacts: { nodes: contacts.get(databaseId)! },
  }))
  return { data: { organizations: { nodes } } }
}

async function one(id: number) {
  const [[row], contacts] = await Promise.all([
    run<OrganizationRow>(oneStatement, [account, id]),
    contactsOf([id], showContact),
  ])
  if (!row) return { data: { organization: null } }
  const [databaseId, name, disabled] = row
  return { data: { organization: { databaseId, name, disabled, contacts: { nodes: contacts.get(id)! } } } }
}

async function add(id: number, request: IncomingMessage) {
  const { channel, label, value, integration } = (await readJson(request)) as Record<string, string>
  const [row] = await run<AddedRow>(addStatement, [account, id, channel!, label!, value!, integration!])
  if (!row) return { data: { addContact: {} } }
  const [databaseId, , , , , version, createdAt, updatedAt] = row
  const contact = {
    databaseId,
    channel: upper[channel!],
    label: upper[label!],
    value,
    integration,
    version,
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
  }
  return { data: { addContact: { contact } } }
}

async function threeLevels() {
  const roots = await run<OrganizationRow>(rootsStatement, [account, rootsInPage])
  const rootIds = roots.map(([id]) => id)
  const children = await run<ChildRow>(childrenStatement, [account, listOf(rootIds), childrenInPage])
  const contacts = await contactsOf(
    children.map(([, id]) => id),
    showContact,
  )
  const childrenOf = new Map<number, unknown[]>(rootIds.map((id) => [id, []]))
  for (const [parentId, databaseId, name] of children) {
    childrenOf.get(parentId)!.push({ databaseId, name, contacts: { nodes: contacts.get(databaseId)! } })
  }
  const nodes = roots.map(([databaseId, name]) => ({
    databaseId,
    name,
    children: { nodes: childrenOf.get(databaseId)! },
  }))
  return { data: { organizations: { nodes } } }
}

async function restList(id: number) {
  const [[row], contacts] = await Promise.all([
    run<OrganizationRow>(oneStatement, [account, id]),
    contactsOf([id], ([, contactId, channel, label, value]) => ({ label, id: contactId, [channel]: value })),
  ])
  return row ? contacts.get(id)! : undefined
}

function answer(request: IncomingMessage): Promise<unknown> {
  const path = request.url!
  if (path === '/w1') return nested()
  if (path === '/w4') return threeLevels()
  if (path.startsWith('/w2/')) return one(Number(path.slice(4)))
  if (path.startsWith('/w3/')) return add(Number(path.slice(4)), request)
  return restList(Number(path.split('/')[3]))
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const body = await answer(request)
    const text = Buffer.from(JSON.stringify(body ?? { message: 'Not Found' }))
    response.writeHead(body === undefined ? 404 : 200, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': text.length,
    })
    response.end(text)
  } catch (error) {
    console.error(error)
    response.writeHead(500).end('{"message":"Internal Server Error"}')
  }
}

const server = createServer(serve).listen(settings.port, host)
closeOnSignal(() => {
  server.close()
  return sql.end({ timeout: 1 })
})
