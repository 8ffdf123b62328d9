import type { Channel, Label } from '../../src/db/tables.ts'
import type { Exchange, Call as Request } from '../faults/client.ts'
import type { Answer, Call, ChangeCall, Contact, NewContact, Refusal, Removal, Update } from './model.ts'

// How an operation is asked for by GraphQL, and what the answers mean.

const contactFields = '... on ContactDetails { databaseId channel label value integration version }'

const errorFields = '... on UserError { path message } ... on ConflictError { currentVersion }'

const successFields = {
  addContact: `contact { ${contactFields} }`,
  updateContact: `contact { ${contactFields} }`,
  removeContact: 'removedContactId',
  clearContacts: 'removedContactIds',
  changeContacts: `added { ${contactFields} } updated { ${contactFields} } removedContactIds`,
}

const listQuery = `query ($id: ID!) {
  organization(id: $id) { contacts(first: 100) { nodes { ${contactFields} } pageInfo { hasNextPage } } }
}`

const typeOf = (field: string) => field.charAt(0).toUpperCase() + field.slice(1)

const mutationOf = (field: keyof typeof successFields, isKeyed: boolean) =>
  `mutation ($input: ${typeOf(field)}Input!${isKeyed ? ', $key: String!' : ''}) {
  ${field}(input: $input)${isKeyed ? ' @idempotent(key: $key)' : ''} {
    __typename
    ... on ${typeOf(field)}Success { ${successFields[field]} }
    ${errorFields}
  }
}`

const post = (query: string, variables: object): Request => ({
  method: 'POST',
  path: '/graphql',
  body: { query, variables },
})

export const hasDirective = {
  call: post('{ __schema { directives { name } } }', {}),
  read: (text: string): boolean => text.includes('"idempotent"'),
}

/** The request of an operation. A mutation with a key may be repeated. */
export function requestFor(organization: number, call: Call, key: string | undefined): Request {
  if (call.kind === 'list') return post(listQuery, { id: organization })
  const input = call.kind === 'clear' ? { organizationId: organization } : inputOf(organization, call)
  return post(mutationOf(fieldOf(call), key !== undefined), { input, ...(key !== undefined && { key }) })
}

const fieldOf = (call: Exclude<Call, { kind: 'list' }>) => (call.kind === 'clear' ? 'clearContacts' : call.verb)

function inputOf(organizationId: number, { verb, add, update, remove }: ChangeCall): object {
  if (verb === 'addContact') return { organizationId, contact: addInput(add[0]!) }
  if (verb === 'updateContact') return updateInput(update[0]!)
  if (verb === 'removeContact') return removeInput(remove[0]!)
  return { organizationId, add: add.map(addInput), update: update.map(updateInput), remove: remove.map(removeInput) }
}

const addInput = ({ channel, label, ...more }: NewContact) => ({ [channel]: { label: label.toUpperCase(), ...more } })
const updateInput = ({ id, ifVersion, channel, change: { label, ...more } }: Update) => ({
  id,
  ifVersion,
  change: { [channel]: { ...(label && { label: label.toUpperCase() }), ...more } },
})
const removeInput = ({ id, ifVersion }: Removal) => ({ id, ifVersion })

/** What an exchange tells of the operation. */
export type Reading = { surprise?: string } & (
  | { outcome: 'answered'; answer: Answer }
  /** It was certainly not done. */
  | { outcome: 'refused' }
  | { outcome: 'unknown' }
)

/** Reads an answer. Throws where the operation itself was not one that the gateway takes: then we are at fault. */
export function readAnswer(call: Call, exchange: Exchange): Reading {
  if (exchange.end === 'unanswered') return { outcome: 'unknown' }
  // Nobody listened, so nothing was sent.
  if (exchange.end === 'cut') return { outcome: exchange.code === 'ECONNREFUSED' ? 'refused' : 'unknown' }
  const body = parse(exchange.text)
  const code = body?.errors?.[0]?.extensions?.code
  if (code === 'RATE_LIMITED') return { outcome: 'refused' }
  if (code === 'BAD_USER_INPUT' || code === 'QUERY_TOO_COMPLEX') throw new Error(`It refused: ${exchange.text}`)
  if (code === 'SERVICE_UNAVAILABLE' || code === 'TIMEOUT') return { outcome: 'unknown' }
  if (code !== undefined || !body?.data) {
    return { outcome: 'unknown', surprise: `status ${exchange.status}: ${exchange.text.slice(0, 300)}` }
  }
  if (call.kind === 'list') return { outcome: 'answered', answer: readList(body.data.organization) }
  const result = body.data[fieldOf(call)]
  if (result?.__typename === `${typeOf(fieldOf(call))}Success`) {
    return { outcome: 'answered', answer: readSuccess(call, result) }
  }
  const refusal = readRefusal(call, result)
  if (!refusal) throw new Error(`It answered ${call.kind} with ${exchange.text}`)
  return { outcome: 'answered', answer: refusal }
}

interface Body {
  // biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
  data?: Record<string, any> | null
  errors?: { extensions?: { code?: string } }[]
}

function parse(text: string): Body | undefined {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

interface Node extends Pick<Contact, 'value' | 'integration' | 'version'> {
  databaseId: number
  channel: string
  label: string
}

const toContact = ({ databaseId, channel, label, value, integration, version }: Node): Contact => ({
  id: databaseId,
  channel: channel.toLowerCase() as Channel,
  label: label.toLowerCase() as Label,
  value,
  integration,
  version,
})

/** The integer in a global id. */
const toId = (globalId: string) => Number(/^Contact:(\d+)$/.exec(Buffer.from(globalId, 'base64url').toString())?.[1])

function readList(organization: { contacts: { nodes: Node[]; pageInfo: { hasNextPage: boolean } } }): Answer {
  const { nodes, pageInfo } = organization.contacts
  if (pageInfo.hasNextPage) throw new Error('A list is not complete: the organization has too many contacts.')
  return { kind: 'listed', contacts: nodes.map(toContact) }
}

interface Success {
  contact?: Node
  added?: Node[]
  updated?: Node[]
  removedContactId?: string
  removedContactIds?: string[]
}

function readSuccess(call: Exclude<Call, { kind: 'list' }>, success: Success): Answer {
  const { contact, added = [], updated = [], removedContactId, removedContactIds = [] } = success
  const ids = removedContactIds.map(toId)
  if (call.kind === 'clear') return { kind: 'cleared', ids }
  const contacts = contact ? [toContact(contact)] : []
  return {
    kind: 'changed',
    added: call.verb === 'addContact' ? contacts : added.map(toContact),
    updated: call.verb === 'updateContact' ? contacts : updated.map(toContact),
    removedIds: removedContactId === undefined ? ids : [toId(removedContactId)],
  }
}

/** A refusal that the state has decided; undefined for any other. */
function readRefusal(
  call: Call,
  result: { __typename: string; path: string[] | null; currentVersion?: number | null } | null,
): Refusal | undefined {
  if (call.kind !== 'change' || !result?.path) return undefined
  const { __typename, path, currentVersion } = result
  const place =
    call.verb === 'changeContacts' ? path : [call.verb === 'updateContact' ? 'update' : 'remove', '0', ...path]
  const [list, position, what] = place
  if (list !== 'update' && list !== 'remove') return undefined
  if (__typename === 'NotFoundError' && what === 'id') return { kind: 'notFound', list, position: Number(position) }
  if (__typename !== 'ConflictError' || what !== 'ifVersion' || typeof currentVersion !== 'number') return undefined
  return { kind: 'conflict', list, position: Number(position), currentVersion }
}
