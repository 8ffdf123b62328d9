import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Channel, channelLabels, contactLabel, type Label } from '../../src/db/tables.ts'
import { channelNames, channels } from '../../src/domain/channels.ts'
import { useDatabase } from '../support/database.ts'
import { anOrganization } from '../support/factory.ts'
import { type Answer, dataOf, type Execute, executeFor } from '../support/graphql.ts'
import { type CallRest, type RestAnswer, restFor } from '../support/rest.ts'

// The same random sequence of calls goes to one organization through REST and to its twin through GraphQL. After each
// step both must have accepted or refused it alike, found fault with the same fields, and be in the same state.
//   MIRROR_RUNS=2000 vitest run test/rest/mirror.db.test.ts     runs more sequences
//   MIRROR_SEED=1                                               runs the same ones again

const runs = Number(process.env.MIRROR_RUNS ?? 40)
const seed = process.env.MIRROR_SEED === undefined ? undefined : Number(process.env.MIRROR_SEED)

const database = useDatabase()
let execute: Execute
let call: CallRest
beforeAll(() => {
  execute = executeFor(database.ctx)
  call = restFor(database.ctx)
})

// Steps, as neither door has them.

interface Parts {
  label?: Label | null
  value?: string | null
  integration?: boolean | null
}

type Step =
  | { kind: 'list' }
  | { kind: 'get'; at: number }
  | { kind: 'add'; channel: Channel; parts: Parts }
  /** `channel` is the contact's own unless it is given. */
  | { kind: 'update'; at: number; channel?: Channel; parts: Parts; ifVersion?: number }
  | { kind: 'remove'; at: number; ifVersion?: number }
  | { kind: 'clear' }

const goodValues: Record<string, string[]> = {
  telephone: ['+1 203 413 4880', ' +1 (800) 4-BEST-IT ', '911', '٠١٢', '1'.repeat(255)],
  email: ['info@best-it.com', '\tA@b\n', '"odd"@b', `${'x'.repeat(253)}@y`, '😀@😀'],
  website: ['www.best-it.com', 'https://x.example/a?b#c', 'localhost:8080', '😀'.repeat(255), 'HTTP://X'],
}
const badValues = [
  '',
  '  ',
  '\u200b',
  'a\u0000b1@c',
  'no digits, no at',
  '1@\ud800',
  'javascript:alert(1)',
  'x y@z 1',
  `1@${'😀'.repeat(254)}`,
]

const channelOf = fc.constantFrom(...channelNames)
const valueFor = (channel: Channel) =>
  fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...goodValues[channel]!) },
    { weight: 2, arbitrary: fc.constantFrom(...badValues) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 300 }) },
  )
const labelFor = (channel: Channel) => fc.constantFrom(...channels[channel].labels)
const wrongLabelFor = (channel: Channel) =>
  fc.constantFrom(
    null,
    undefined,
    ...contactLabel.enumValues.filter((label) => !(channelLabels[channel] as readonly Label[]).includes(label)),
  )
const integration = fc.constantFrom(undefined, true, false)

/** What the schema refuses by itself comes alone: GraphQL does not look at the rest then. */
const newParts = (channel: Channel): fc.Arbitrary<Parts> =>
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        label: labelFor(channel),
        value: valueFor(channel),
        integration: fc.constantFrom(undefined, null, true, false),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ label: wrongLabelFor(channel), value: fc.constantFrom(...goodValues[channel]!) }),
    },
    { weight: 1, arbitrary: fc.record({ label: labelFor(channel), value: fc.constantFrom(null, undefined) }) },
  )

const changedParts = (channel: Channel): fc.Arbitrary<Parts> =>
  fc.record(
    {
      label: fc.option(labelFor(channel)),
      value: fc.option(valueFor(channel)),
      integration: fc.option(integration.map((given) => given ?? true)),
    },
    { requiredKeys: [] },
  )

const version = fc.constantFrom(undefined, undefined, 1, 2, 3, 9)
/** Which of the contacts that were ever added; a large number is none. */
const at = fc.nat({ max: 12 })

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 1, arbitrary: fc.constant<Step>({ kind: 'list' }) },
  { weight: 1, arbitrary: at.map((index): Step => ({ kind: 'get', at: index })) },
  {
    weight: 6,
    arbitrary: channelOf.chain((channel) => newParts(channel).map((parts): Step => ({ kind: 'add', channel, parts }))),
  },
  {
    weight: 5,
    arbitrary: channelOf
      .chain((channel) => fc.tuple(at, changedParts(channel), version))
      .map(([index, parts, ifVersion]): Step => ({ kind: 'update', at: index, parts, ifVersion })),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(at, channelOf, version)
      .chain(([index, channel, ifVersion]) =>
        valueFor(channel).map((value): Step => ({ kind: 'update', at: index, channel, parts: { value }, ifVersion })),
      ),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(at, version).map(([index, ifVersion]): Step => ({ kind: 'remove', at: index, ifVersion })),
  },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: 'clear' }) },
)

// What came of a step, as neither door says it.

interface Outcome {
  kind: 'done' | 'invalid' | 'not found' | 'conflict'
  /** The fields that were found faulty. */
  fields: string[]
  /** Refused before a verb saw it, so that faults which only the verb finds are not told. */
  bySchema?: boolean
  /** What was shown of a contact. */
  shown?: unknown
  addedId?: number
}

interface Twin {
  /** The ids of the contacts that were added, in the order of the steps, and their channels. */
  added: { id: number; channel: Channel }[]
}

const noContact = 999_999_999

const enumOf = (label: Label | null | undefined) => (typeof label === 'string' ? label.toUpperCase() : label)

async function byRest(organizationId: number, twin: Twin, given: Step): Promise<Outcome> {
  const list = `/organizations/${organizationId}/contacts`
  const contact = 'at' in given ? twin.added[given.at] : undefined
  const single = `${list}/${contact?.id ?? noContact}`
  const headers: Record<string, string> =
    'ifVersion' in given && given.ifVersion !== undefined ? { 'if-match': `"v${given.ifVersion}"` } : {}
  const bodyOf = (channel: Channel, { value, ...parts }: Parts) => ({
    ...parts,
    ...(value !== undefined && { [channel]: value }),
  })
  switch (given.kind) {
    case 'list':
      return restOutcome(await call('GET', list))
    case 'get':
      return restOutcome(await call('GET', single))
    case 'add':
      return restOutcome(await call('POST', list, bodyOf(given.channel, given.parts)), given.channel)
    case 'update':
      return restOutcome(
        await call('PATCH', single, bodyOf(given.channel ?? contact?.channel ?? 'email', given.parts), headers),
      )
    case 'remove':
      return restOutcome(await call('DELETE', single, undefined, headers))
    case 'clear':
      return restOutcome(await call('DELETE', list))
  }
}

function restOutcome({ status, body }: RestAnswer, channel?: Channel): Outcome {
  const kinds: Record<number, Outcome['kind']> = {
    200: 'done',
    201: 'done',
    204: 'done',
    404: 'not found',
    412: 'conflict',
    422: 'invalid',
  }
  const fields: string[] = (body?.errors ?? []).map(([field]: [string]) => field)
  // Without its value the body names no channel at all.
  const named = fields.map((field) => (field === 'base' && channel ? channel : field))
  const outcome: Outcome = { kind: kinds[status]!, fields: [...new Set(named)].sort() }
  if (status === 201) outcome.addedId = body.id
  if (status === 200 || status === 201) outcome.shown = Array.isArray(body) ? body.map(withoutId) : withoutId(body)
  return outcome
}

const withoutId = ({ id: _, ...rest }: Record<string, unknown>) => rest

const shownFields = '... on ContactDetails { databaseId channel label value integration }'

async function byGraphQL(organizationId: number, twin: Twin, given: Step): Promise<Outcome> {
  const contact = 'at' in given ? twin.added[given.at] : undefined
  const id = contact?.id ?? noContact
  const ifVersion = 'ifVersion' in given ? given.ifVersion : undefined
  const detailsOf = ({ label, ...parts }: Parts) => ({ ...parts, ...(label !== undefined && { label: enumOf(label) }) })
  const mutate = async (name: string, selection: string, input: object) => {
    const typename = name.charAt(0).toUpperCase() + name.slice(1)
    const document = `mutation($input: ${typename}Input!) { ${name}(input: $input) {
      __typename ... on ${typename}Success { ${selection} } ... on ValidationError { issues { path } } } }`
    return graphqlOutcome(await execute(document, { input }), name)
  }
  switch (given.kind) {
    case 'list': {
      const { organization } = await dataOf(
        execute(`{ organization(id: ${organizationId}) { contacts { nodes { ${shownFields} } } } }`),
      )
      return { kind: 'done', fields: [], shown: organization.contacts.nodes.map((node: Shown) => shownAsListed(node)) }
    }
    case 'get': {
      const { contact: found } = await dataOf(execute(`{ contact(id: ${id}) { ${shownFields} } }`))
      return found ? { kind: 'done', fields: [], shown: shownAsSingle(found) } : { kind: 'not found', fields: [] }
    }
    case 'add':
      return mutate('addContact', `contact { ${shownFields} }`, {
        organizationId,
        contact: { [given.channel]: detailsOf(given.parts) },
      })
    case 'update':
      return mutate('updateContact', `contact { ${shownFields} }`, {
        id,
        ifVersion,
        change: { [given.channel ?? contact?.channel ?? 'email']: detailsOf(given.parts) },
      })
    case 'remove':
      return mutate('removeContact', 'removedContactId', { id, ifVersion })
    case 'clear':
      return mutate('clearContacts', 'removedContactIds', { organizationId })
  }
}

interface Shown {
  channel: string
  label: string
  value: string
  integration: boolean
  databaseId: number
}

const shownAsListed = ({ channel, label, value }: Shown) => ({
  label: label.toLowerCase(),
  [channel.toLowerCase()]: value,
})
const shownAsSingle = (shown: Shown) => ({ ...shownAsListed(shown), integration: shown.integration })

function graphqlOutcome({ data, errors }: Answer, name: string): Outcome {
  if (errors) {
    // The schema refused a variable: its place is in the message.
    const fields = errors
      .map(({ message }) => /at "input\.(?:[\w.]*\.)?(\w+)"; (?:Field "(\w+)")?/.exec(message)!)
      .map(([, last, missing]) => missing ?? last!)
    const channelValues = errors.map(({ message }) => /at "input\.contact\.(\w+)/.exec(message)?.[1] ?? '')
    const named = fields.map((field, i) => (field === 'value' ? channelValues[i]! : field))
    return { kind: 'invalid', bySchema: true, fields: named.sort() }
  }
  const result = data[name]
  if (result.__typename === 'ValidationError') {
    const fields = result.issues.map(({ path }: { path: string[] }) =>
      path.at(-1) === 'value' ? path.at(-2) : path.at(-1),
    )
    return { kind: 'invalid', fields: [...new Set<string>(fields)].sort() }
  }
  if (result.__typename === 'NotFoundError') return { kind: 'not found', fields: [] }
  if (result.__typename === 'ConflictError') return { kind: 'conflict', fields: [] }
  return {
    kind: 'done',
    fields: [],
    ...(result.contact && { shown: shownAsSingle(result.contact), addedId: result.contact.databaseId }),
  }
}

async function stateOf(organizationId: number): Promise<unknown[]> {
  const { organization } = await dataOf(
    execute(
      `{ organization(id: ${organizationId}) { contacts { nodes { ... on ContactDetails { channel label value integration version } } } } }`,
    ),
  )
  return organization.contacts.nodes
}

describe('REST and GraphQL', () => {
  it(
    'do the same to two organizations, step by step',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 14 }), async (steps) => {
          const [rest, graphql] = [await anOrganization(database.ctx), await anOrganization(database.ctx)]
          const twins: [Twin, Twin] = [{ added: [] }, { added: [] }]
          for (const given of steps) {
            const [{ addedId: restId, ...left }, { addedId: graphqlId, bySchema, ...right }] = [
              await byRest(rest.id, twins[0], given),
              await byGraphQL(graphql.id, twins[1], given),
            ]
            // REST looks for the contact before it looks at the body; GraphQL has the input judged first.
            if (left.kind === 'not found' && given.kind === 'update')
              expect(['not found', 'invalid']).toContain(right.kind)
            else if (bySchema && given.kind === 'update')
              expect(left).toMatchObject({ kind: 'invalid', fields: expect.arrayContaining(right.fields) })
            else expect(right.shown === undefined ? { ...left, shown: undefined } : left).toEqual(right)
            if (given.kind === 'add' && left.kind === 'done') {
              twins[0].added.push({ id: restId!, channel: given.channel })
              twins[1].added.push({ id: graphqlId!, channel: given.channel })
            }
            expect(await stateOf(rest.id)).toEqual(await stateOf(graphql.id))
          }
        }),
        { numRuns: runs, ...(seed !== undefined && { seed }) },
      )
    },
    60 * 60 * 1000,
  )
})
