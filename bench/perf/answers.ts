import { isDeepStrictEqual } from 'node:util'
import type { Cleanup } from '../faults/cleanup.ts'
import { ask, type Reply } from './connection.ts'
import type { Dataset } from './dataset.ts'
import { startServer } from './server.ts'
import { floorName, type Stack, stacks } from './stacks.ts'
import { newContact, type Workload, type WorkloadName, wireOf, workloads } from './workloads.ts'

// Before anything is timed, all stacks are asked the same, and their answers are compared with those of the floor, which is
// itself compared with what a query of its own finds in the tables.

/** How many calls of a workload are compared. What has a single one is asked again: compiled queries answer from the second on. */
const compared = 25

export interface Comparison {
  workload: WorkloadName
  stack: string
  /** Answers that were equal. */
  answers: number
}

/** What an answer says, whatever each stack calls it. */
export function plain(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) return value.map((item) => plain(item))
  if (value === null || typeof value !== 'object') return plainLeaf(value, key)
  // A connection is the list of its nodes.
  if ('nodes' in value) return plain(value.nodes)
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => name !== '__typename')
      .map(([name, part]) => [names[name] ?? name, plain(part, names[name] ?? name)]),
  )
}

const names: Record<string, string> = { databaseId: 'id', rowId: 'id' }

function plainLeaf(value: unknown, key: string): unknown {
  if (typeof value !== 'string') return value
  // 64 bits are a text to some.
  if (key === 'id') return Number(value)
  if (key === 'channel' || key === 'label') return value.toLowerCase()
  if (key === 'createdAt' || key === 'updatedAt') return new Date(value).toISOString()
  return value
}

export function readAnswer({ status, body }: Reply, { expected }: Workload): unknown {
  const text = body.toString()
  const json = JSON.parse(text)
  if (status !== expected.status || json.errors || json.message) {
    throw new Error(`an answer that is an error: ${status} ${text.slice(0, 1000)}`)
  }
  return plain(json.data ?? json)
}

export interface CompareOptions {
  only: readonly Stack[]
  workloadNames: readonly WorkloadName[]
  data: Dataset
  cpus: string | undefined
  poolSize: number
  cleanup: Cleanup
}

export interface Compared {
  comparisons: Comparison[]
  /** What the first call of each workload that only reads must bring, later on as well. */
  expected: Partial<Record<WorkloadName, unknown>>
}

/** Throws where an answer differs, and shows where. */
export async function compareAnswers(options: CompareOptions): Promise<Compared> {
  const { only, workloadNames, data } = options
  const floor = stacks.find(({ name }) => name === floorName)!
  const expected = await answersOf(floor, options)
  for (const name of workloadNames) expectEqual('the tables', name, await answersOfTables(name, data), expected[name]!)
  const comparisons: Comparison[] = []
  for (const stack of only) {
    const answers = stack === floor ? expected : await answersOf(stack, options)
    for (const workload of workloadNames) {
      const given = answers[workload]
      if (!given) continue
      expectEqual(stack.name, workload, given, expected[workload]!)
      comparisons.push({ workload, stack: stack.name, answers: given.length })
    }
  }
  const readOnly = workloadNames.filter((name) => !workloads[name].writes)
  return { comparisons, expected: Object.fromEntries(readOnly.map((name) => [name, expected[name]![0]])) }
}

type Answers = Partial<Record<WorkloadName, unknown[]>>

/** Its answers to the first calls of each workload; none where it cannot be asked. */
async function answersOf(stack: Stack, options: CompareOptions): Promise<Answers> {
  const { data, workloadNames } = options
  const headers = stack.headers?.(data)
  const requestsOf = (workload: Workload) =>
    workload.calls(stack.dialect, data)?.map((call) => wireOf(call, headers)) ?? []
  const server = await startServer(stack, { ...options, firstRequest: requestsOf(workloads.W1)[0]! })
  const answers: Answers = {}
  try {
    for (const name of workloadNames) {
      const workload = workloads[name]
      const given: unknown[] = []
      const requests = requestsOf(workload)
      if (requests.length === 0) continue
      for (let turn = 0; turn < compared; turn += 1) {
        given.push(readAnswer(await ask(server.port, requests[turn % requests.length]!), workload))
      }
      answers[name] = workload.writes ? await withWritten(given, data) : given
    }
  } finally {
    await server.stop()
  }
  return answers
}

/** What has been written must be there, and alike: ids and instants are known by what the database says. */
async function withWritten(given: unknown[], data: Dataset): Promise<unknown[]> {
  const shown = await Promise.all(given.map((answer) => describeWritten(answer as Added, data)))
  await data.restore()
  return shown
}

interface Added {
  addContact: { contact: { id: number; createdAt: string; updatedAt: string } }
}

async function describeWritten({ addContact: { contact } }: Added, data: Dataset): Promise<unknown> {
  const { id, createdAt, updatedAt, ...rest } = contact
  const [written] = await data.use(
    (sql) => sql`
      select c.channel, c.label, c.value, c.integration, c.version, c.created_at, c.updated_at, c.organization_id::int,
        o.contacts_revision::int as revision,
        (select array_agg(l.key) from contact_lookups l where l.contact_id = c.id) as keys
      from contacts c join organizations o on o.id = c.organization_id where c.id = ${id}`,
  )
  const { created_at, updated_at, ...stored } = written ?? {}
  const isShownAsStored = createdAt === created_at?.toISOString() && updatedAt === updated_at?.toISOString()
  return { shown: rest, stored, isShownAsStored }
}

/** What the first calls of a workload must bring, by a query that has nothing to do with any stack. */
async function answersOfTables(name: WorkloadName, data: Dataset): Promise<unknown[]> {
  const ids = data.organizationIds.slice(0, compared)
  const contacts = (owner: string) => `(select coalesce(json_agg(json_build_object('id', c.id, 'channel', c.channel,
      'label', c.label, 'value', c.value, 'integration', c.integration) order by c.channel, c.label, c.id), '[]')
    from contacts c where c.organization_id = ${owner}.id)`
  const one = `json_build_object('id', o.id, 'name', o.name, 'disabled', o.disabled, 'contacts', ${contacts('o')})`
  const children = `(select json_agg(json_build_object('id', k.id, 'name', k.name, 'contacts', ${contacts('k')})
      order by k.name) from organizations k where k.parent_id = o.id)`
  const queries = {
    W1: `select json_build_object('organizations', (select json_agg(${one} order by o.name)
      from (select * from organizations order by name limit 50) o))::text as answer`,
    W2: `select json_build_object('organization', ${one})::text as answer
      from unnest($1::bigint[]) with ordinality as asked(id, n) join organizations o using (id) order by n`,
    W4: `select json_build_object('organizations', (
        select json_agg(json_build_object('id', o.id, 'name', o.name, 'children', ${children}) order by o.name)
        from (select * from organizations where parent_id is null order by name limit 10) o))::text as answer`,
    W5: `select (select json_agg(json_build_object('label', c.label, 'id', c.id, c.channel, c.value)
        order by c.channel, c.label, c.id) from contacts c where c.organization_id = asked.id)::text as answer
      from unnest($1::bigint[]) with ordinality as asked(id, n) order by n`,
  }
  if (name === 'W3') return ids.map(addedTo)
  const isForEach = queries[name].includes('$1')
  const rows = await data.use(async (sql) => [...(await sql.unsafe(queries[name], isForEach ? [`{${ids}}`] : []))])
  const answers = rows.map(({ answer }) => JSON.parse(answer))
  return isForEach ? answers : ids.map(() => answers[0])
}

const addedTo = (organization: number) => ({
  shown: { ...newContact, version: 1 },
  stored: {
    ...newContact,
    version: 1,
    organization_id: organization,
    revision: 1,
    keys: [newContact.value.toLowerCase()],
  },
  isShownAsStored: true,
})

function expectEqual(who: string, name: WorkloadName, given: unknown[], expected: unknown[]): void {
  if (isDeepStrictEqual(given, expected)) return
  const at = Math.max(
    0,
    given.findIndex((answer, i) => !isDeepStrictEqual(answer, expected[i])),
  )
  const show = (answer: unknown) => JSON.stringify(answer)?.slice(0, 2000)
  throw new Error(
    `${name}: the answers of ${who} differ from those of the floor, ${given.length} to ${expected.length}; the first:\n` +
      `${who}: ${show(given[at])}\nfloor: ${show(expected[at])}`,
  )
}
