import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest'
import { encodeId } from '../../src/domain/ids.ts'
import { plausibleOrganization } from '../../src/domain/plausible.ts'
import { seedOrganizations } from '../../src/domain/seed.ts'
import { createSchema } from '../../src/graphql/schema.ts'
import { appFor } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import type { Answer } from '../support/graphql.ts'
import { type RandomRequest, randomFrom, randomRequest } from '../support/random-document.ts'

const { FUZZ_SEED, FUZZ_RUNS = '300' } = process.env
const seed = FUZZ_SEED ? Number(FUZZ_SEED) : Math.floor(Math.random() * 2 ** 32)
const runs = Number(FUZZ_RUNS)
const codes = ['BAD_USER_INPUT', 'QUERY_TOO_COMPLEX', 'FORBIDDEN']
const patience = 1000
/** When the memory is looked at first: what is kept for later requests is full by then. */
const warm = 1000

const database = useDatabase()
const ids: string[] = []
beforeAll(async () => {
  await seedOrganizations(
    database.ctx,
    Array.from({ length: 40 }, (_, i) => plausibleOrganization(i, 4)),
  )
  const organization = await anOrganization(database.ctx)
  const contacts = await Promise.all([1, 2, 3].map(() => aContact(database.ctx, organization.id)))
  ids.push(encodeId('Organization', organization.id), String(organization.id), encodeId('Organization', 1))
  ids.push(...contacts.map(({ id }) => encodeId('Contact', id)), String(contacts[0]!.id))
})

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** What is in use once all is collected that can be. */
function heap(): number {
  collect()
  return process.memoryUsage().heapUsed
}

/** What nobody waited for: it would end the process of a server. */
const unhandled: unknown[] = []
beforeEach(() => {
  unhandled.length = 0
  const listener = (reason: unknown) => unhandled.push(reason)
  process.on('unhandledRejection', listener)
  onTestFinished(() => void process.off('unhandledRejection', listener))
})

it('a wrong argument fails in every item of a list, whatever the items before have begun', async () => {
  const parent = await anOrganization(database.ctx, { name: 'Fuzz 2' })
  await anOrganization(database.ctx, { name: 'Fuzz 1', parentId: String(parent.id) })
  const query = `{ organizations(filter: { namePrefix: "Fuzz " }) { nodes { parent { name } children(first: 101) { totalCount } } } }`

  const response = await appFor(database.ctx).handle(toHttp({ query, variables: {}, broken: false }))
  const { errors } = (await response.json()) as Answer
  // The item before waits for a statement; after one more, it has ended, too.
  await anOrganization(database.ctx)
  await setImmediate()

  expect(errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT')
  expect(unhandled).toEqual([])
})

it('random documents, valid and broken, get an answer of the contract within a second', {
  timeout: 30_000 + runs * 100,
}, async () => {
  const schema = createSchema()
  const random = randomFrom(seed)
  const { handle } = appFor(database.ctx)
  const told = new Map<string, number>()
  const count = (what: string) => told.set(what, (told.get(what) ?? 0) + 1)
  let slowest = 0
  let early = 0

  for (let run = 0; run < runs; run += 1) {
    const request = randomRequest(schema, random, ids)
    const start = performance.now()
    const response = await handle(toHttp(request))
    const text = await response.text()
    const milliseconds = performance.now() - start
    // The first brings modules into memory.
    if (run > 0) slowest = Math.max(slowest, milliseconds)

    const faults = faultsOf(response.status, text, run > 0 ? milliseconds : 0)
    if (unhandled.length > 0) faults.push(`a rejection that nobody handled: ${unhandled[0]}`)
    if (faults.length > 0) {
      expect.fail(
        `FUZZ_SEED=${seed}, document ${run}: ${faults.join('; ')}\n${JSON.stringify(request)}\n${text.slice(0, 2000)}`,
      )
    }
    count(`${request.broken ? 'broken' : 'valid'} ${response.status}`)
    if (run === warm - 1) early = heap()
  }

  const late = heap()
  const memory = early > 0 ? `, heap ${megabytes(early)} after ${warm} and ${megabytes(late)} at the end` : ''
  const outcomes = [...told].toSorted().map(([what, times]) => `${what}: ${times}`)
  console.log(
    `FUZZ_SEED=${seed}: ${runs} documents, the slowest ${Math.round(slowest)} ms${memory}; ${outcomes.join(', ')}`,
  )
  expect(told.get('valid 200'), `FUZZ_SEED=${seed}`).toBeGreaterThan(runs / 4)
  expect(told.get('broken 400'), `FUZZ_SEED=${seed}`).toBeGreaterThan(runs / 4)
  if (runs >= 10 * warm) expect(late - early, `FUZZ_SEED=${seed}`).toBeLessThan(20_000_000)
})

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`

function toHttp({ query, variables, operationName }: RandomRequest): Request {
  return new Request('http://gateway/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/graphql-response+json' },
    body: JSON.stringify({ query, variables, operationName }),
  })
}

function faultsOf(status: number, text: string, milliseconds: number): string[] {
  const faults: string[] = []
  if (status !== 200 && status !== 400) faults.push(`status ${status}`)
  if (text.includes('Unexpected error')) faults.push('an unexpected error')
  if (milliseconds > patience) faults.push(`${Math.round(milliseconds)} ms`)
  const { data, errors } = JSON.parse(text) as Answer
  if (!data && !errors?.length) faults.push('neither data nor errors')
  for (const { message, extensions } of errors ?? []) {
    if (!codes.includes(extensions?.code)) faults.push(`the code ${extensions?.code}`)
    if (!message) faults.push('an error without a message')
  }
  return faults
}
