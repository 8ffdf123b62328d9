import type { Call, Exchange } from './client.ts'
import type { Outcome } from './ledger.ts'

/** A contact as its writer knows it. */
export interface KnownContact {
  id: number
  version: number
  value: string
}

/** What a writer asks for. E-mail addresses are told from websites by their `@`. */
export type Change =
  | { kind: 'add'; organization: number; value: string }
  /** Both or none. GraphQL only. */
  | { kind: 'pair'; organization: number; values: [string, string] }
  | { kind: 'update'; organization: number; contact: KnownContact; value: string }
  | { kind: 'remove'; organization: number; contact: KnownContact }

export interface Verdict {
  outcome: Outcome
  /** The contacts that an acknowledged change has left, in its order. */
  contacts: { id: number; version: number }[]
  /** What was said, for refusals and doubts. */
  reason?: string
  /** What is wrong with the form of the answer. */
  unclear?: string | undefined
}

/** One way into the gateway: how a change is asked for, and what its answers mean. */
export interface Door {
  readonly name: 'graphql' | 'rest'
  callFor(change: Change, key: string | undefined): Call
  read(change: Change, exchange: Exchange): Verdict
  /** Reads a few contacts. */
  readCall(organization: number): Call
  /** What is wrong with the form of an answer to that. */
  faultOfRead(exchange: Exchange): string | undefined
}

const channelOf = (value: string) => (value.includes('@') ? 'email' : 'website')

/** Texts that belong in no answer: of drivers, SQL and stacks. */
const internals =
  /ECONN|EPIPE|CONNECTION_|CONNECT_TIMEOUT|SQLSTATE|postgres|relation "|pg_|\bselect\b|\binsert\b|node_modules|\n\s+at |57P0\d/i

/** What was not answered: no doubt where nothing can have been read. */
function readSilence(exchange: Exclude<Exchange, { end: 'answered' }>): Verdict {
  if (exchange.end === 'unanswered') return { outcome: 'unknown', contacts: [], reason: 'no answer' }
  const wasNeverSent = exchange.code === 'ECONNREFUSED' || exchange.hasBegun === false
  return { outcome: wasNeverSent ? 'refused' : 'unknown', contacts: [], reason: exchange.code }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const shorten = (text: string) => (text.length > 300 ? `${text.slice(0, 300)} …` : text)

/** What top-level errors may say while things are broken. Anything else means that the gateway or the bench is wrong. */
const expectedCodes = new Set(['SERVICE_UNAVAILABLE', 'TIMEOUT', 'RATE_LIMITED'])
/** The gateway says so where it cannot tell whether a change was made. Without it, nothing was done. */
const doubt = /may have been done/

interface GraphQLAnswer {
  data?: Record<string, Record<string, unknown> | null> | null
  errors?: { message: string; path?: (string | number)[]; extensions?: { code?: string } }[]
}

const contactSelection = '... on ContactDetails { databaseId version }'
const userErrorSelection = '... on UserError { code message }'
const idempotentBy = (key: string | undefined) => (key === undefined ? '' : ` @idempotent(key: ${JSON.stringify(key)})`)

const graphqlDocuments = {
  add: (key: string | undefined) =>
    `mutation ($input: AddContactInput!) { addContact(input: $input)${idempotentBy(key)} {
      __typename ... on AddContactSuccess { contact { ${contactSelection} } } ${userErrorSelection} } }`,
  pair: (key: string | undefined) =>
    `mutation ($input: ChangeContactsInput!) { changeContacts(input: $input)${idempotentBy(key)} {
      __typename ... on ChangeContactsSuccess { added { ${contactSelection} } } ${userErrorSelection} } }`,
  update: (key: string | undefined) =>
    `mutation ($input: UpdateContactInput!) { updateContact(input: $input)${idempotentBy(key)} {
      __typename ... on UpdateContactSuccess { contact { ${contactSelection} } organization { name contacts(first: 1) { totalCount } } }
      ${userErrorSelection} } }`,
  remove: (key: string | undefined) =>
    `mutation ($input: RemoveContactInput!) { removeContact(input: $input)${idempotentBy(key)} {
      __typename ... on RemoveContactSuccess { removedContactId } ${userErrorSelection} } }`,
}

function graphqlInput(change: Change): object {
  const contactFor = (value: string) => ({ [channelOf(value)]: { label: 'GENERAL', value } })
  switch (change.kind) {
    case 'add':
      return { organizationId: change.organization, contact: contactFor(change.value) }
    case 'pair':
      return { organizationId: change.organization, add: change.values.map(contactFor) }
    case 'update':
      return {
        id: change.contact.id,
        ifVersion: change.contact.version,
        change: { [channelOf(change.contact.value)]: { value: change.value } },
      }
    case 'remove':
      return { id: change.contact.id, ifVersion: change.contact.version }
  }
}

const graphqlCall = (query: string, variables: object): Call => ({
  method: 'POST',
  path: '/graphql',
  headers: { accept: 'application/graphql-response+json' },
  body: { query, variables },
})

/** What is wrong with the errors of an answer. */
function faultOfErrors({ errors = [] }: GraphQLAnswer, text: string): string | undefined {
  const odd = errors.find(({ message, extensions }) => {
    return !expectedCodes.has(extensions?.code ?? '') || typeof message !== 'string' || internals.test(message)
  })
  return odd && `GraphQL: ${shorten(text)}`
}

export const graphqlDoor: Door = {
  name: 'graphql',
  callFor: (change, key) => graphqlCall(graphqlDocuments[change.kind](key), { input: graphqlInput(change) }),
  read(_change, exchange) {
    if (exchange.end !== 'answered') return readSilence(exchange)
    const answer = parse(exchange.text) as GraphQLAnswer | undefined
    const unclear = { unclear: `GraphQL, status ${exchange.status}: ${shorten(exchange.text)}` }
    if (!answer) return { outcome: 'unknown', contacts: [], ...unclear }
    const { errors = [] } = answer
    if (errors.length > 0) {
      // Below the mutation itself only its payload is read: by then the change was made.
      const isDoubtful = errors.some(({ message, path = [] }) => doubt.test(message) || path.length > 1)
      return {
        outcome: isDoubtful ? 'unknown' : 'refused',
        contacts: [],
        reason: errors[0]!.message,
        unclear: faultOfErrors(answer, exchange.text),
      }
    }
    const [result] = Object.values(answer.data ?? {})
    if (!result) return { outcome: 'unknown', contacts: [], ...unclear }
    // Writers only ask for what can be done: whoever tells them otherwise is wrong.
    if (!/Success$/.test(String(result.__typename))) {
      return { outcome: 'refused', contacts: [], reason: String(result.message), ...unclear }
    }
    const left = (result.added ?? (result.contact ? [result.contact] : [])) as { databaseId: number; version: number }[]
    return { outcome: 'acknowledged', contacts: left.map(({ databaseId, version }) => ({ id: databaseId, version })) }
  },
  readCall: (organization) =>
    graphqlCall(
      `query ($id: ID!) { organization(id: $id) { name contacts(first: 5) { totalCount nodes { ${contactSelection} } } } }`,
      { id: organization },
    ),
  faultOfRead(exchange) {
    if (exchange.end !== 'answered') return undefined
    const answer = parse(exchange.text) as GraphQLAnswer | undefined
    if (!answer) return `GraphQL, status ${exchange.status}: ${shorten(exchange.text)}`
    return (
      faultOfErrors(answer, exchange.text) ?? (answer.errors || answer.data?.organization ? undefined : exchange.text)
    )
  },
}

/** Statuses for what is broken, all of which tell when to come again. */
const unavailableStatuses = new Set([429, 503, 504])

function faultOfStatus(exchange: Extract<Exchange, { end: 'answered' }>): string | undefined {
  const body = parse(exchange.text) as { message?: unknown } | undefined
  const isClear =
    unavailableStatuses.has(exchange.status) &&
    /^\d+$/.test(exchange.headers['retry-after'] ?? '') &&
    typeof body?.message === 'string' &&
    !internals.test(exchange.text)
  return isClear ? undefined : `REST, status ${exchange.status}: ${shorten(exchange.text)}`
}

const contactsPath = (organization: number) => `/v1/organizations/${organization}/contacts`

export const restDoor: Door = {
  name: 'rest',
  callFor(change, key) {
    const keyed: Record<string, string> = key === undefined ? {} : { 'idempotency-key': key }
    const path = contactsPath(change.organization)
    switch (change.kind) {
      case 'add':
        return {
          method: 'POST',
          path,
          headers: keyed,
          body: { label: 'general', [channelOf(change.value)]: change.value },
        }
      case 'update':
      case 'remove': {
        const { id, version, value } = change.contact
        const isUpdate = change.kind === 'update'
        return {
          method: isUpdate ? 'PATCH' : 'DELETE',
          path: `${path}/${id}`,
          headers: { ...keyed, 'if-match': `"v${version}"` },
          ...(isUpdate && { body: { [channelOf(value)]: change.value } }),
        }
      }
      case 'pair':
        throw new Error('REST adds one contact at a time')
    }
  },
  read(change, exchange) {
    if (exchange.end !== 'answered') return readSilence(exchange)
    const { status, headers, text } = exchange
    if (status === 204 && change.kind === 'remove') return { outcome: 'acknowledged', contacts: [] }
    if (status === 200 || status === 201) {
      const body = parse(text) as { id?: unknown } | undefined
      const version = Number(/^"v(\d+)"$/.exec(headers.etag ?? '')?.[1])
      if (typeof body?.id === 'number' && version >= 1) {
        return { outcome: 'acknowledged', contacts: [{ id: body.id, version }] }
      }
      return { outcome: 'unknown', contacts: [], unclear: `REST, status ${status}: ${shorten(text)}` }
    }
    // REST has no words for the doubt: unavailable may be before or after.
    const outcome = unavailableStatuses.has(status) || status === 500 ? 'unknown' : 'refused'
    return { outcome, contacts: [], reason: `status ${status}`, unclear: faultOfStatus(exchange) }
  },
  readCall: (organization) => ({ method: 'GET', path: `${contactsPath(organization)}?per_page=5` }),
  faultOfRead(exchange) {
    if (exchange.end !== 'answered' || exchange.status === 200) return undefined
    return faultOfStatus(exchange)
  },
}
