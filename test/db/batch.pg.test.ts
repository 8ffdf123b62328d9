import { AsyncLocalStorage } from 'node:async_hooks'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { startProxy } from '../../bench/faults/proxy.ts'
import { maxKeysTogether } from '../../src/db/batch.ts'
import { type Database, type DatabaseOptions, openDatabase, type RequestScope } from '../../src/db/client.ts'
import { defineKeyedRead, defineStatement, param } from '../../src/db/statement.ts'
import { findOrganizations, updateOrganization } from '../../src/domain/organizations.ts'
import { useDatabase } from '../support/database.ts'
import { anOrganization } from '../support/factory.ts'

const database = useDatabase()

const keys = sql`unnest(${param('keys', 'bigint[]')}) as given(key)`

/** For each key that is above zero, it times something; and how many keys were read together. */
const times = defineKeyedRead<{ factor: number }, { product: number; together: number }>(
  'test_times',
  [sql`key * ${param('factor', 'bigint')}`, sql`cardinality(${param('keys', 'bigint[]')})`],
  (columns) => sql`select key, ${columns} from ${keys} where key > 0`,
  ([product, together]) => ({ product, together }),
)

const divided = defineKeyedRead<Record<never, never>, number>(
  'test_divided',
  [sql`1 / key`],
  (column) => sql`select key, ${column} from ${keys}`,
  ([quotient]) => quotient,
)

/** Waits for whoever holds the gate. */
const gate = 4_711
const passGate = defineStatement('test_gate', sql.raw(`select pg_advisory_xact_lock_shared(${gate})`))
const behindGate = defineKeyedRead<Record<never, never>, string>(
  'test_behind_gate',
  [sql`name`],
  (column) =>
    sql`select id, ${column} from organizations, (select ${sql.raw(
      `pg_advisory_xact_lock_shared(${gate})`,
    )} as passed offset 0) gate where id = any(${param('keys', 'bigint[]')}) and passed is not null`,
  ([name]) => name,
)

/** Keeps the gate shut until it is told to open it. */
async function shutGate(): Promise<() => Promise<void>> {
  const holder = postgres(database.url, { max: 1 })
  await holder.unsafe(`select pg_advisory_lock(${gate})`)
  let isOpen = false
  const open = async () => {
    if (isOpen) return
    isOpen = true
    await holder.end()
  }
  onTestFinished(open)
  return open
}

interface Told {
  texts: string[]
  statements: string[]
  retries: string[]
}

const opened: Database[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((db) => db.close()))
})

async function open(options: Partial<DatabaseOptions> = {}): Promise<{ db: Database; told: Told }> {
  const told: Told = { texts: [], statements: [], retries: [] }
  const db = await openDatabase({
    url: database.url,
    poolSize: 1,
    prepare: true,
    deadlines: { connectionMs: 20_000, statementMs: 20_000 },
    onStatement: (text) => told.texts.push(text),
    observer: {
      onStatement: (name, _ms, outcome) => told.statements.push(`${name} ${outcome}`),
      onRetry: (_name, reason) => told.retries.push(reason),
    },
    ...options,
  })
  opened.push(db)
  return { db, told }
}

/** The only connection is busy until the gate is opened. */
async function openBehindGate() {
  const openGate = await shutGate()
  const { db, told } = await open()
  const busy = db.run(passGate, {})
  await vi.waitUntil(() => told.texts.length === 1)
  told.texts.pop()
  return {
    db,
    told,
    openGate: async () => {
      await openGate()
      await busy
    },
  }
}

const scopeOf = (ms: number, given: Partial<RequestScope> = {}): RequestScope => ({
  deadline: performance.now() + ms,
  limitMs: ms,
  ...given,
})

const turn = () => new Promise((resolve) => setImmediate(resolve))
const products = (rows: readonly (readonly { product: number }[])[]) => rows.map((row) => row.map((one) => one.product))

describe('reads of several requests', () => {
  it('that ask in one turn are one statement, and share the rows of what they ask alike', async () => {
    const { db, told } = await open({ poolSize: 4 })
    const [one, other] = [db.forRequest(scopeOf(10_000)), db.forRequest(scopeOf(10_000))]

    const [first, second] = await Promise.all([
      one.run(times, { factor: 10, keys: [3, 1] }),
      other.run(times, { factor: 10, keys: [0, 1, 2] }),
    ])

    expect(told.texts).toEqual([times.text])
    expect(products(first)).toEqual([[30], [10]])
    expect(products(second)).toEqual([[], [10], [20]])
    expect(first[1]![0]).toBe(second[1]![0])
    expect(first[0]![0]!.together).toBe(4)
  })

  it('join what waits for a connection, also in later turns', async () => {
    const { db, told, openGate } = await openBehindGate()
    const first = db.run(times, { factor: 1, keys: [1] })
    await vi.waitUntil(() => db.status().pool.waiting === 1)
    const later = db.run(times, { factor: 1, keys: [2] })
    await turn()
    const last = db.run(times, { factor: 1, keys: [3] })
    await turn()

    await openGate()

    expect((await Promise.all([first, later, last])).map(products)).toEqual([[[1]], [[2]], [[3]]])
    expect(told.texts).toEqual([times.text])
  })

  it('do not join what has been sent, so that each sees what was written before it asked', async () => {
    const openGate = await shutGate()
    const { db, told } = await open({ poolSize: 4 })
    const ctx = { ...database.ctx, db }
    const { id, name } = await anOrganization(ctx)
    told.texts.splice(0)
    const before = db.run(behindGate, { keys: [id] })
    await vi.waitUntil(() => told.texts.length === 1)

    await updateOrganization(ctx, { id, name: `${name}, renamed` })
    const after = db.run(behindGate, { keys: [id] })
    await vi.waitUntil(() => told.texts.length === 3)
    await openGate()

    expect(await before).toEqual([[name]])
    expect(await after).toEqual([[`${name}, renamed`]])
  })

  it('see what any request has been told to be written', async () => {
    const { db } = await open({ poolSize: 4 })
    const ctx = { ...database.ctx, db }
    const { id, name } = await anOrganization(ctx)
    const readers = Array.from({ length: 20 }, () => ({ ...ctx, db: db.forRequest(scopeOf(20_000)) }))
    let written = 0

    const read = async (reader: typeof ctx) => {
      for (let n = 0; n < 20; n += 1) {
        const known = written
        const [found] = await findOrganizations(reader, [id])
        expect(Number(found!.name.split('#')[1] ?? 0)).toBeGreaterThanOrEqual(known)
      }
    }
    const write = async () => {
      for (let n = 1; n <= 20; n += 1) {
        await updateOrganization(ctx, { id, name: `${name}#${n}` })
        written = n
      }
    }
    await Promise.all([write(), ...readers.map(read)])
  })

  it('are apart where anything but the keys differs, and so are accounts', async () => {
    const { db, told } = await open()
    const mine = await anOrganization(database.ctx)
    const foreign = await anOrganization(database.otherCtx)
    const find = ({ account, permissions }: typeof database.ctx, id: number) =>
      findOrganizations({ db, account, permissions }, [id])

    const rows = await Promise.all([
      db.run(times, { factor: 1, keys: [1] }),
      db.run(times, { factor: 2, keys: [1] }),
      db.run(times, { factor: 1, keys: [1] }),
    ])
    const found = await Promise.all([
      find(database.ctx, mine.id),
      find(database.otherCtx, foreign.id),
      find(database.ctx, foreign.id),
      find(database.otherCtx, mine.id),
    ])

    expect(rows.map(products)).toEqual([[[1]], [[2]], [[1]]])
    expect(found.map((all) => all.map(({ name }) => name))).toEqual([[mine.name], [foreign.name], [], []])
    expect(told.texts).toHaveLength(2 + 2)
  })

  it(`are at most ${maxKeysTogether} keys together; who asks for more is alone`, async () => {
    const { db, told, openGate } = await openBehindGate()
    const ask = (from: number, count: number) =>
      db.run(times, { factor: 1, keys: Array.from({ length: count }, (_, i) => from + i) })

    const asked = [ask(1, 200), ask(150, 100), ask(1_000, 50), ask(2_000, 300), ask(3_000, 1)]
    await turn()
    await openGate()
    const found = await Promise.all(asked)

    expect(found.map((rows) => rows[0]![0]!.together)).toEqual([249, 249, 50, 300, 1])
    expect(found.map(({ length }) => length)).toEqual([200, 100, 50, 300, 1])
    expect(told.texts).toHaveLength(4)
  })

  it('that fail, fail for all of them, and the next can be read', async () => {
    const { db } = await open()
    const failures = await Promise.allSettled([db.run(divided, { keys: [1] }), db.run(divided, { keys: [0] })])

    expect(failures).toMatchObject(Array(2).fill({ status: 'rejected', reason: { code: '22012' } }))
    expect(await db.run(divided, { keys: [1] })).toEqual([[1]])
  })

  it('that find no database, fail for all of them', async () => {
    const { db } = await open({
      url: 'postgres://nobody@127.0.0.1:1/nowhere',
      deadlines: { connectionMs: 500, statementMs: 500 },
    })
    const ask = () => Promise.allSettled([1, 2].map((key) => db.run(times, { factor: 1, keys: [key] })))
    const unavailable = Array(2).fill({
      status: 'rejected',
      reason: { name: 'DatabaseUnavailable', mayHaveRun: false },
    })

    expect(await ask()).toMatchObject(unavailable)
    expect(await ask()).toMatchObject(unavailable)
  })

  it('are told to each as its own statement, and to the metrics once', async () => {
    const { db, told } = await open()
    const toldTo: string[][] = [[], [], []]
    const requests = toldTo.map((names) =>
      db.forRequest(
        scopeOf(10_000, { onStatement: (name, _at, ms, outcome) => names.push(`${name} ${outcome} ${ms >= 0}`) }),
      ),
    )

    await Promise.all(requests.map((request, i) => request.run(times, { factor: 1, keys: [i] })))

    expect(toldTo).toEqual(Array(3).fill(['test_times ok true']))
    expect(told.statements).toEqual(['test_times ok'])
  })

  it('are read again together when the connection is lost under them', async () => {
    const proxy = await startProxy({ port: Number(new URL(database.url).port) })
    onTestFinished(() => proxy.close())
    const url = new URL(database.url)
    url.port = String(proxy.port)
    const { db, told } = await open({ url: url.href })
    await db.run(divided, { keys: [1] })
    await proxy.set({ kind: 'swallow-answer', containing: 'cardinality', times: 1 })

    const found = await Promise.all([1, 2].map((key) => db.run(times, { factor: 1, keys: [key] })))

    expect(found.map(products)).toEqual([[[1]], [[2]]])
    expect(told.retries).toEqual(['connection_lost'])
  })

  it('are run on behalf of the first of them, and each goes on on its own behalf', async () => {
    const requests = new AsyncLocalStorage<string>()
    const seen: (string | undefined)[] = []
    const observer = { onStatement: () => void seen.push(requests.getStore()) }
    const { db } = await open({ observer })

    const after = await Promise.all(
      ['one', 'other', 'third'].map((name, i) =>
        requests.run(name, async () => {
          await db.run(times, { factor: i < 2 ? 1 : 2, keys: [i] })
          return requests.getStore()
        }),
      ),
    )

    expect(seen).toEqual(['one', 'third'])
    expect(after).toEqual(['one', 'other', 'third'])
  })
})

describe('the deadline of a request among others', () => {
  it('refuses it alone, in time, while they go on waiting', async () => {
    const { db, told, openGate } = await openBehindGate()
    const late: string[] = []
    const patient = db.forRequest(scopeOf(20_000)).run(times, { factor: 1, keys: [1] })
    const hasty = db
      .forRequest(scopeOf(50, { onStatement: (name, _at, _ms, outcome) => late.push(`${name} ${outcome}`) }))
      .run(times, { factor: 1, keys: [2] })

    await expect(hasty).rejects.toMatchObject({
      name: 'DeadlineExceeded',
      of: 'request',
      limitMs: 50,
      mayHaveRun: false,
    })
    expect(told.texts).toEqual([])
    await openGate()

    expect(products(await patient)).toEqual([[1]])
    // What was sent for it as well is told to it as well.
    expect(late).toEqual(['test_times ok'])
  })

  it('does not shorten what the others wait for a connection, whoever came first', async () => {
    const { db, openGate } = await openBehindGate()
    const hasty = db.forRequest(scopeOf(50)).run(times, { factor: 1, keys: [2] })
    const patient = db.forRequest(scopeOf(20_000)).run(times, { factor: 1, keys: [1] })
    const unbounded = db.run(times, { factor: 1, keys: [3] })

    await expect(hasty).rejects.toMatchObject({ name: 'DeadlineExceeded', of: 'request' })
    await openGate()

    expect((await Promise.all([patient, unbounded])).map(products)).toEqual([[[1]], [[3]]])
  })

  it('keeps from sending what nobody waits for any more', async () => {
    const { db, told, openGate } = await openBehindGate()
    const hasty = db.forRequest(scopeOf(50)).run(times, { factor: 1, keys: [2] })
    await expect(hasty).rejects.toMatchObject({ name: 'DeadlineExceeded', of: 'request', limitMs: 50 })

    await openGate()
    await vi.waitUntil(() => db.status().pool.idle === 1)

    expect(products(await db.run(times, { factor: 2, keys: [1] }))).toEqual([[2]])
    expect(told.texts).toEqual([times.text])
  })

  it('refuses at once what comes after it', async () => {
    const { db, told } = await open()

    const late = db.forRequest(scopeOf(-1)).run(times, { factor: 1, keys: [1] })

    await expect(late).rejects.toMatchObject({ name: 'DeadlineExceeded', of: 'request', mayHaveRun: false })
    expect(told.texts).toEqual([])
    expect(told.statements).toEqual(['test_times timeout'])
  })
})
