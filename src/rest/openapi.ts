import { z } from 'zod'
import { type Channel, contactLabel } from '../db/tables.ts'
import { channelNames, channels } from '../domain/channels.ts'
import { changedDetails, newDetails } from '../domain/contacts.ts'
import { keyDescription } from '../domain/once.ts'
import { maxPageSize } from '../domain/page.ts'
import { sampleOrganizations } from '../domain/sample.ts'
import { type ErrorStatus, reasons } from './errors.ts'
import { keyHeader } from './once.ts'
import { defaultPerPage } from './pages.ts'
import { restPath } from './router.ts'

// The OpenAPI document, made from the schemas that validate and from the sample.

type Json = Record<string, unknown>

const jsonSchema = (schema: z.ZodType): Json => {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  return rest
}

const ref = (kind: 'schemas' | 'parameters' | 'responses' | 'headers', name: string) => ({
  $ref: `#/components/${kind}/${name}`,
})

const id = z.int().positive().describe('The integer id.')
const instant = z.iso.datetime().describe('An instant in UTC.')
const someLabel = z.enum(contactLabel.enumValues).describe('What the contact is for.')
const integration = z
  .boolean()
  .describe('Whether an integration maintains the contact; user interfaces show it read-only.')

/** The keys of the channels, each of which is there for its contacts only. */
const channelKeys = Object.fromEntries(
  channelNames.map((channel) => [channel, z.string().describe(channels[channel].description).optional()]),
)

const contact = z.object({
  label: someLabel.optional(),
  id: id.optional(),
  ...channelKeys,
  integration: integration.optional(),
  created_at: instant.optional(),
  updated_at: instant.optional(),
})
const parent = z.object({ id, name: z.string() }).nullable().describe('The organization above it; null at the root.')
const organization = z.object({
  id: id.optional(),
  name: z.string().optional(),
  parent: parent.optional(),
  disabled: z.boolean().optional(),
  source: z.string().nullable().optional(),
  sourceID: z.string().nullable().optional(),
  created_at: instant.optional(),
  updated_at: instant.optional(),
})

/** A body with the value under the name of its channel, as REST has it, from the details that the verbs parse. */
const bodyOf = (channel: Channel, { value, ...parts }: Json & { value: z.ZodType }) =>
  z.object({ ...(parts as Record<string, z.ZodType>), [channel]: value })

const newContact = z.union(channelNames.map((channel) => bodyOf(channel, newDetails(channel).shape)) as never)
const contactChange = z.union(channelNames.map((channel) => bodyOf(channel, changedDetails(channel).shape)) as never)

const error = z.object({
  message: z.string(),
  errors: z
    .array(z.tuple([z.string(), z.string()]))
    .optional()
    .describe('Pairs of a field of the body and what is wrong with it.'),
})

const [bestIt] = sampleOrganizations
const sampleList = bestIt!.contacts.map(({ label, id, channel, value }) => ({ label, id, [channel]: value }))
const sampleContact = { id: 68, label: 'general', telephone: '+1 (203) 413 4880', integration: true }

const json = (schema: Json, example?: unknown) => ({
  'application/json': { schema, ...(example !== undefined && { example }) },
})

const errorStatuses = {
  400: 'The body is not a JSON object, or a parameter cannot be.',
  401: 'There is no valid token.',
  403: 'The caller may not do this, or not use the account.',
  404: 'There is no such object in the account.',
  406: 'The Accept header takes no JSON.',
  412: 'The object is not at the version that If-Match names.',
  413: 'The body is too long.',
  415: 'The body is not declared as application/json in UTF-8.',
  422: 'The body breaks rules: all of them are told. Or the Idempotency-Key was used for another request.',
  429: 'Too many requests: try again after Retry-After seconds.',
  503: 'The database is not available, or there is too much to do: try again after Retry-After seconds.',
  504: 'It took too long: try again after Retry-After seconds. A change may have been made all the same.',
} satisfies Partial<Record<ErrorStatus, string>>

const errorExamples: Partial<Record<ErrorStatus, Json>> = {
  400: { message: 'Invalid JSON string posted' },
  422: { message: reasons[422], errors: [['label', "Label can't be blank"]] },
}

const errorResponses = Object.fromEntries(
  Object.entries(errorStatuses).map(([status, description]) => {
    const code = Number(status) as keyof typeof errorStatuses
    return [
      `Error${status}`,
      { description, content: json(ref('schemas', 'Error'), errorExamples[code] ?? { message: reasons[code] }) },
    ]
  }),
)

/** For calls on one contact, which has a version to tell. */
const staleContact = {
  412: { ...errorResponses.Error412, headers: { ETag: ref('headers', 'CurrentETag') } },
}

const errors = (...statuses: (keyof typeof errorStatuses)[]) =>
  Object.fromEntries(
    [...statuses, 401, 403, 406, 429, 503, 504].map((status) => [String(status), ref('responses', `Error${status}`)]),
  )

const ok = (description: string, schema: Json, example: unknown, headers: string[] = ['ETag']) => ({
  description,
  headers: Object.fromEntries(headers.map((name) => [name, ref('headers', name)])),
  content: json(schema, example),
})

const pageHeaderNames = ['ETag', 'Link', 'X-Pagination-Per-Page', 'X-Pagination-Total-Entries']
const parameters = (...names: string[]) => names.map((name) => ref('parameters', name))
const notModified = { 304: { description: 'What If-None-Match names is still what there is.' } }
const readParameters = ['fields', 'ifNoneMatch']
const pageParameters = ['perPage', 'searchAfter', 'searchBefore', ...readParameters]
const body = (name: string, example: unknown) => ({ required: true, content: json(ref('schemas', name), example) })
const contactAnswer = (description: string) => ok(description, ref('schemas', 'Contact'), sampleContact)

const sampleOrganization = {
  id: 2,
  name: 'Best IT Europe',
  parent: { id: 1, name: 'Best IT' },
  disabled: false,
  source: 'HR',
  sourceID: 'EU-01',
  created_at: '2026-11-24T09:30:00.000Z',
  updated_at: '2026-11-24T09:30:00.000Z',
}

const sampleEvents = [
  'id: AfSEuvKgNPYFAAA\nevent: ready\ndata: {"cursor":"AfSEuvKgNPYFAAA"}\n\n',
  'id: AeWTuvKgNPcFAAA\nevent: added\n',
  `data: ${JSON.stringify({ organization_id: 2, ...sampleContact, etag: '"v1"' })}\n\n`,
].join('')

const update = (operationId: string, summary: string) => ({
  operationId,
  summary,
  description:
    'Keys that are absent stay as they are. The channel never changes. Unknown keys are ignored, and `id` is read-only.',
  parameters: parameters('ifMatch', 'idempotencyKey', 'fields'),
  requestBody: body('ContactChange', { label: 'service_desk' }),
  responses: { 200: contactAnswer('The contact as it is now.'), ...errors(400, 404, 413, 415, 422), ...staleContact },
})

/** The document of the REST API: OpenAPI 3.1. */
export function openApiDocument() {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Contacts gateway',
      version: '1',
      description: 'The contacts of organizations, by the same rules as over GraphQL.',
    },
    servers: [{ url: restPath }],
    // Without authentication (AUTH=none) no token is needed.
    security: [{ token: [] }, {}],
    paths: {
      '/organizations': {
        get: {
          operationId: 'listOrganizations',
          summary: 'List the organizations, by name.',
          parameters: parameters(...pageParameters),
          responses: {
            200: ok(
              'A page of organizations.',
              { type: 'array', items: ref('schemas', 'Organization') },
              [sampleOrganization],
              pageHeaderNames,
            ),
            ...notModified,
            ...errors(400),
          },
        },
      },
      '/organizations/{organization_id}': {
        parameters: parameters('organizationId'),
        get: {
          operationId: 'getOrganization',
          summary: `Get an organization with its first ${maxPageSize} contacts.`,
          parameters: parameters(...readParameters),
          responses: {
            200: ok('The organization.', ref('schemas', 'OrganizationWithContacts'), {
              ...sampleOrganization,
              contacts: [{ label: 'service_desk', id: 73, email: 'helpdesk.eu@best-it.example' }],
            }),
            ...notModified,
            ...errors(400, 404),
          },
        },
      },
      '/organizations/{organization_id}/contacts': {
        parameters: parameters('organizationId'),
        get: {
          operationId: 'listContacts',
          summary: 'List the contacts of an organization, by channel, label and id.',
          parameters: parameters(...pageParameters),
          responses: {
            200: ok(
              'A page of contacts.',
              { type: 'array', items: ref('schemas', 'Contact') },
              sampleList,
              pageHeaderNames,
            ),
            ...notModified,
            ...errors(400, 404),
          },
        },
        post: {
          operationId: 'addContact',
          summary: 'Add a contact to an organization.',
          description: 'Exactly one channel must be given. Unknown keys are ignored, and `id` is read-only.',
          parameters: parameters('idempotencyKey', 'fields'),
          requestBody: body('NewContact', { label: 'general', telephone: '+1 (203) 413 4880', integration: true }),
          responses: {
            201: {
              ...contactAnswer('The contact as it was added.'),
              headers: { ETag: ref('headers', 'ETag'), Location: ref('headers', 'Location') },
            },
            ...errors(400, 404, 412, 413, 415, 422),
          },
        },
        delete: {
          operationId: 'clearContacts',
          summary: 'Remove all contacts of an organization. A slash at the end makes no difference.',
          parameters: parameters('idempotencyKey'),
          responses: { 204: { description: 'They are gone.' }, ...errors(400, 404, 412, 422) },
        },
      },
      '/organizations/{organization_id}/contacts/events': {
        parameters: parameters('organizationId'),
        get: {
          operationId: 'watchContacts',
          summary: 'Be told of changes to the contacts of an organization, as server-sent events.',
          description: [
            'Changes come in the order in which they were committed, none missing and none twice. Each event has the place in the stream after it as its `id`.',
            '`ready` comes at once: changes from then on will come. `added` and `updated` bring the contact, `removed` its id, and `cleared` the ids of all that were removed at once, each with `organization_id`; `etag` is for If-Match.',
            '`end` comes last where the stream ends from here, with a `code`. SHUTTING_DOWN and SLOW_CONSUMER: connect again with the last id. CURSOR_EXPIRED: what has changed since is not known any more, so read the lists again and connect without one. UNAUTHENTICATED and FORBIDDEN: the token is not valid any more, or may not do this any more.',
          ].join(' '),
          parameters: parameters('includeDescendants', 'after', 'lastEventId'),
          responses: {
            200: {
              description: 'The stream, which goes on for as long as both sides want it.',
              content: { 'text/event-stream': { schema: { type: 'string' }, example: sampleEvents } },
            },
            ...errors(400, 404),
          },
        },
      },
      '/organizations/{organization_id}/contacts/{contact_id}': {
        parameters: parameters('organizationId', 'contactId'),
        get: {
          operationId: 'getContact',
          summary: 'Get a contact.',
          parameters: parameters(...readParameters),
          responses: { 200: contactAnswer('The contact.'), ...notModified, ...errors(400, 404) },
        },
        patch: update('updateContact', 'Update a contact.'),
        put: update('replaceContact', 'The same as PATCH.'),
        delete: {
          operationId: 'removeContact',
          summary: 'Remove a contact.',
          parameters: parameters('ifMatch', 'idempotencyKey'),
          responses: { 204: { description: 'It is gone.' }, ...errors(400, 404, 422), ...staleContact },
        },
      },
    },
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'A token of the gateway, or a JSON Web Token.' },
      },
      schemas: {
        Contact: jsonSchema(contact),
        NewContact: jsonSchema(newContact),
        ContactChange: jsonSchema(contactChange),
        Organization: jsonSchema(organization),
        OrganizationWithContacts: jsonSchema(organization.extend({ contacts: z.array(contact).optional() })),
        Error: jsonSchema(error),
      },
      parameters: {
        organizationId: {
          name: 'organization_id',
          in: 'path',
          required: true,
          description: 'The integer id or the global id, with or without `.json` at the end of the path.',
          schema: { type: 'string' },
        },
        contactId: {
          name: 'contact_id',
          in: 'path',
          required: true,
          description: 'The integer id or the global id.',
          schema: { type: 'string' },
        },
        perPage: {
          name: 'per_page',
          in: 'query',
          description: 'How many at most.',
          schema: { type: 'integer', minimum: 1, maximum: maxPageSize, default: defaultPerPage },
        },
        searchAfter: {
          name: 'search_after',
          in: 'query',
          description: 'Begin after this place. Follow the Link header instead of making one.',
          schema: { type: 'string' },
        },
        searchBefore: {
          name: 'search_before',
          in: 'query',
          description: 'End before this place.',
          schema: { type: 'string' },
        },
        fields: {
          name: 'fields',
          in: 'query',
          description: 'Which fields to show, separated by commas.',
          schema: { type: 'string' },
          example: 'id,label,integration',
        },
        includeDescendants: {
          name: 'include_descendants',
          in: 'query',
          description: 'Whether to bring the changes to the contacts of all organizations beneath it as well.',
          schema: { type: 'boolean', default: false },
        },
        after: {
          name: 'after',
          in: 'query',
          description: 'The id of an event: bring what came after it, and go on from there.',
          schema: { type: 'string' },
        },
        lastEventId: {
          name: 'Last-Event-ID',
          in: 'header',
          description: 'The same, as browsers send it when they connect again; it goes before `after`.',
          schema: { type: 'string' },
        },
        ifNoneMatch: {
          name: 'If-None-Match',
          in: 'header',
          description: 'Tags of what the caller has already.',
          schema: { type: 'string' },
        },
        ifMatch: {
          name: 'If-Match',
          in: 'header',
          description: 'The tag of the contact that the caller has read: another version is not touched.',
          schema: { type: 'string' },
          example: '"v1"',
        },
        idempotencyKey: {
          name: keyHeader,
          in: 'header',
          description: `Gives the request one effect, however often it is sent: within 24 hours it gets the first outcome again. A key has ${keyDescription}; it may be sent as it is, or as a quoted string.`,
          schema: { type: 'string' },
          example: '8e03978e-40d5-43e8-bc93-6894a57f9324',
        },
      },
      headers: {
        ETag: {
          description: 'The tag of what is sent: strong for one contact (its version), weak for everything else.',
          schema: { type: 'string' },
        },
        CurrentETag: {
          description: 'The tag that the contact has now.',
          schema: { type: 'string' },
          example: '"v2"',
        },
        Location: { description: 'Where the contact is.', schema: { type: 'string' } },
        Link: {
          description: 'The first page and, where there are, the previous and the next one.',
          schema: { type: 'string' },
        },
        'X-Pagination-Per-Page': { description: 'How many a page has at most.', schema: { type: 'integer' } },
        'X-Pagination-Total-Entries': { description: 'How many there are on all pages.', schema: { type: 'integer' } },
      },
      responses: errorResponses,
    },
  }
}

// biome-ignore lint/suspicious/noExplicitAny: parts of a document are of many shapes
export type DocumentPart = any

/** A part of the document, or what it refers to. */
export function resolvePart(document: object, part: DocumentPart): DocumentPart {
  if (!part?.$ref) return part
  const keys: string[] = part.$ref.split('/').slice(1)
  return keys.reduce((found: DocumentPart, key) => found[key], document)
}
