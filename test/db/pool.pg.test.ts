import { connect, createServer, type Socket } from 'node:net'
import { sql } from 'drizzle-orm'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { type LinkMode, startProxy } from '../../bench/faults/proxy.ts'
import { type Database, type DatabaseOptions, openDatabase } from '../../src/db/client.ts'
import { DatabaseUnavailable, DeadlineExceeded } from '../../src/db/errors.ts'
import { migrate } from '../../src/db/migrate.ts'
import { defineRead, defineStatement } from '../../src/db/statement.ts'
import { useDatabase } from '../support/database.ts'
import { anOrganization } from '../support/factory.ts'

const database = useDatabase({ poolSize: 2 })

/** Statements reach the driver by their texts; short ones keep the tests apart from the rules. */
const one = defineRead<Record<never, never>, number>('test_one', sql`select 1`, ([n]) => n)
const pid = defineRead<Record<never, never>, number>('test_pid', sql`select pg_backend_pid()`, ([n]) => n)
const sleep = defineStatement('test_sleep', sql`select pg_sleep(30)`)
const terminateOthers = defineStatement(
  'test_terminate',
  sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
)

const opened: Database[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((db) => db.close()))
})

interface Told {
  breaker: boolean[]
  retries: string[]
  lost: number
  texts: string[]
}

/** Another pool on the database of the tests, or on what stands at the port. */
async function open(given: Partial<DatabaseOptions> & { port?: number } = {}): Promise<{ db: Database; told: Told }> {
  const { port, ...options } = given
  const url = new URL(database.url)
  if (port) url.port = String(port)
  const told: Told = { breaker: [], retries: [], lost: 0, texts: [] }
  const db = await openDatabase({
    url: url.href,
    poolSize,
    prepare: true,
    deadlines: { connectionMs: 600, statementMs: 800 },
    onStatement: (text) => told.texts.push(text),
    observer: {
      onBreaker: (isOpen) => told.breaker.push(isOpen),
      onRetry: (_name, reason) => told.retries.push(reason),
      onConnectionLost: () => {
        told.lost += 1
      },
    },
    ...options,
  })
  opened.push(db)
  return { db, told }
}

async function openThroughProxy(given: Partial<DatabaseOptions> = {}) {
  const proxy = await startProxy({ port: Number(new URL(database.url).port) })
  onTestFinished(() => proxy.close())
  return { proxy, ...(await open({ ...given, port: proxy.port })) }
}

/** How something failed, and after how many milliseconds. */
async function failureOf(work: Promise<unknown>): Promise<{ error: unknown; ms: number }> {
  const startedAt = performance.now()
  const error = await work.then(
    () => undefined,
    (reason) => reason,
  )
  return { error, ms: performance.now() - startedAt }
}

const poolSize = 4

/** Makes the pool open all of its connections, by as many statements at once. */
async function fill(db: Database) {
  await Promise.all(Array.from({ length: 10 * poolSize }, () => db.run(pid, {})))
  await isFull(db)
}

const isFull = (db: Database) => vi.waitUntil(() => db.status().pool.idle === poolSize, { timeout: 5_000 })

describe('waiting for a connection', () => {
  it('ends in time, without the statement being sent', async () => {
    const { db, told } = await open({ poolSize: 1, deadlines: { connectionMs: 200, statementMs: 20_000 } })
    const busy = db.run(sleep, {}).catch(() => {})
    await vi.waitUntil(() => told.texts.length === 1)

    const { error, ms } = await failureOf(db.run(one, {}))

    expect(error).toBeInstanceOf(DatabaseUnavailable)
    expect(error).toMatchObject({ mayHaveRun: false, cause: { message: 'no connection was free within 200 ms' } })
    expect(ms).toBeGreaterThan(150)
    expect(told.texts).toEqual([sleep.text])
    expect(db.status()).toEqual({ pool: { idle: 0, busy: 1, connecting: 0, waiting: 0 }, isBreakerOpen: false })
    await database.db.run(terminateOthers, {})
    await busy
  })

  it('goes by turns', async () => {
    const { db } = await open({ poolSize: 1 })
    const order: number[] = []

    await Promise.all(Array.from({ length: 20 }, (_, n) => db.run(one, {}).then(() => order.push(n))))

    expect(order).toEqual(order.toSorted((a, b) => a - b))
  })
})

describe('a statement that takes too long', () => {
  it('is ended by the database, and the connection goes on', async () => {
    const { db } = await open({ poolSize: 1, deadlines: { connectionMs: 5_000, statementMs: 300 } })
    const [before] = await db.run(pid, {})

    const { error } = await failureOf(db.run(sleep, {}))

    expect(error).toBeInstanceOf(DeadlineExceeded)
    expect(error).toMatchObject({ of: 'statement', limitMs: 300, mayHaveRun: false })
    expect(await db.run(pid, {})).toEqual([before])
  })

  it('is given up where the link is silent, with its end unknown', async () => {
    const { proxy, db } = await openThroughProxy({ poolSize: 1 })
    await db.run(one, {})
    await proxy.set({ kind: 'stall' })

    const { error, ms } = await failureOf(db.run(one, {}))

    expect(error).toBeInstanceOf(DeadlineExceeded)
    expect(error).toMatchObject({ of: 'statement', limitMs: 800, mayHaveRun: true })
    expect(ms).toBeLessThan(800 + 500 + 1_000)
  })

  it('and has told some of its rows takes none from the next statement', async () => {
    const { db } = await open({ poolSize: 1 })
    const failing = defineRead<Record<never, never>, number>(
      'test_failing',
      sql`select 1 / (3 - n) from generate_series(1, 5) n`,
      ([n]) => n,
    )
    const [before] = await db.run(pid, {})

    const { error } = await failureOf(db.run(failing, {}))

    expect(error).toMatchObject({ code: '22012' })
    expect(await db.run(pid, {})).toEqual([before])
  })

  it('that an operator cancels is no matter of time', async () => {
    const { db, told } = await open({ poolSize: 1, deadlines: { connectionMs: 5_000, statementMs: 20_000 } })
    const running = failureOf(db.run(sleep, {}))
    await vi.waitUntil(() => told.texts.length === 1)
    const cancel = defineRead<Record<never, never>, boolean>(
      'test_cancel',
      sql`select pg_cancel_backend(pid) from pg_stat_activity
        where datname = current_database() and query like '%pg_sleep%' and state = 'active' and pid <> pg_backend_pid()`,
      ([done]) => done,
    )
    await vi.waitUntil(async () => (await database.db.run(cancel, {})).length > 0)

    expect((await running).error).toMatchObject({ name: 'DatabaseUnavailable', mayHaveRun: false })
  })
})

describe('the deadline of a request', () => {
  it('lets no statement begin after it', async () => {
    const { db, told } = await open()

    const { error } = await failureOf(db.forRequest({ deadline: performance.now() - 1, limitMs: 10_000 }).run(one, {}))

    expect(error).toMatchObject({ name: 'DeadlineExceeded', of: 'request', limitMs: 10_000, mayHaveRun: false })
    expect(told.texts).toEqual([])
  })

  it('tells of each statement by its name', async () => {
    const { db } = await open()
    const told: unknown[] = []
    const request = db.forRequest({
      deadline: performance.now() + 10_000,
      limitMs: 10_000,
      onStatement: (name, _startedAt, ms, outcome) => told.push([name, ms >= 0, outcome]),
    })

    await request.run(one, {})
    await failureOf(request.run(defineStatement('test_wrong', sql`select 1 / 0`), {}))

    expect(told).toEqual([
      ['test_one', true, 'ok'],
      ['test_wrong', true, 'refused'],
    ])
  })
})

describe('a link that', () => {
  const faults: LinkMode[] = [
    { kind: 'refuse' },
    { kind: 'accept-and-close' },
    { kind: 'reset' },
    { kind: 'stall' },
    { kind: 'cut', bytes: 5 },
  ]

  it.each(faults)('is broken ($kind) makes every statement fail in time, and heals by itself', async (fault) => {
    const { proxy, db, told } = await openThroughProxy()
    await fill(db)
    await proxy.set(fault)

    const first = await Promise.all(Array.from({ length: 8 }, () => failureOf(db.run(one, {}))))
    await vi.waitUntil(() => db.status().isBreakerOpen, { timeout: 10_000 })
    const refused = await failureOf(db.run(one, {}))
    const isReachable = await db.isReachable()
    await proxy.set({ kind: 'pass' })
    const healedAt = performance.now()
    await vi.waitUntil(() => !db.status().isBreakerOpen, { timeout: 10_000, interval: 10 })
    const closedAfterMs = performance.now() - healedAt

    for (const { error, ms } of [...first, refused]) {
      expect(['DatabaseUnavailable', 'DeadlineExceeded']).toContain((error as Error).name)
      expect(ms).toBeLessThan(600 + 800 + 500 + 1_000)
    }
    expect(refused.error).toBeInstanceOf(DatabaseUnavailable)
    expect(refused.ms).toBeLessThan(100)
    expect(isReachable).toBe(false)
    expect(closedAfterMs).toBeLessThan(1_000)
    expect(told.breaker).toEqual([true, false])
    await isFull(db)
    expect(await db.run(one, {})).toEqual([1])
    expect(await db.isReachable()).toBe(true)
  })

  it('loses the answer to a write leaves its end open, and does not send it again', async () => {
    const { proxy, db, told } = await openThroughProxy({ deadlines: { connectionMs: 5_000, statementMs: 5_000 } })
    const rename = defineStatement(
      'test_rename',
      sql`update organizations set disabled = not disabled, name = 'swallowed'`,
    )
    const state = defineRead<Record<never, never>, [boolean, string]>(
      'test_state',
      sql`select disabled, name from organizations`,
      (cells) => cells,
    )
    await anOrganization(database.ctx, { name: 'before' })
    await db.run(one, {})
    await proxy.set({ kind: 'swallow-answer', containing: 'swallowed', times: 1 })

    const { error } = await failureOf(db.run(rename, {}))

    expect(proxy.swallowed).toBe(1)
    expect(error).toMatchObject({ name: 'DatabaseUnavailable', mayHaveRun: true })
    expect(told.retries).toEqual([])
    expect(await db.run(state, {})).toEqual([[true, 'swallowed']])
  })

  it('loses the answer to a read makes it be read again', async () => {
    const { proxy, db, told } = await openThroughProxy({ deadlines: { connectionMs: 5_000, statementMs: 5_000 } })
    await db.run(one, {})
    await proxy.set({ kind: 'swallow-answer', containing: 'pg_backend_pid', times: 2 })

    expect(await db.run(pid, {})).toEqual([expect.any(Number)])

    expect(proxy.swallowed).toBe(2)
    expect(told.retries).toEqual(['connection_lost', 'connection_lost'])
  })
})

describe('a database that', () => {
  it('ends all sessions is noticed by reads only in that they take longer', async () => {
    const { db, told } = await open({ deadlines: { connectionMs: 5_000, statementMs: 5_000 } })
    await fill(db)

    for (let round = 0; round < 5; round += 1) {
      await database.db.run(terminateOthers, {})
      expect(await Promise.all(Array.from({ length: 8 }, () => db.run(one, {})))).toEqual(Array(8).fill([1]))
    }

    expect(told.lost).toBeGreaterThanOrEqual(5)
    expect(told.breaker).toEqual([])
  })

  const speakers: [string, (socket: Socket) => void][] = [
    ['closes', (socket) => socket.end()],
    ['resets', (socket) => socket.resetAndDestroy()],
    ['speaks another protocol', (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['says nothing', () => {}],
  ]

  it.each(speakers)('is something else that %s is tried with pauses, and told as an outage', async (_, speak) => {
    let connections = 0
    const sockets = new Set<Socket>()
    const server = createServer((socket) => {
      connections += 1
      sockets.add(socket.on('error', () => {}))
      speak(socket)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      server.close()
      for (const socket of sockets) socket.destroy()
    })
    const { db } = await open({ port: (server.address() as { port: number }).port })
    const startedAt = performance.now()

    const { error, ms } = await failureOf(db.run(one, {}))
    await vi.waitUntil(() => connections >= 4, { timeout: 10_000 })
    const perSecond = connections / ((performance.now() - startedAt) / 1000)

    expect(error).toBeInstanceOf(DatabaseUnavailable)
    expect(ms).toBeLessThan(600 + 1_000)
    expect(perSecond).toBeLessThan(10)
  })

  it('is still starting is waited for before the tables are brought up to date', async () => {
    const fields = ['SFATAL', 'C57P03', 'Mthe database system is starting up', ''].map((field) => `${field}\0`).join('')
    const head = Buffer.from('E\0\0\0\0')
    head.writeUInt32BE(4 + fields.length, 1)
    let refusals = 0
    const server = createServer((socket) => {
      socket.on('error', () => {})
      if (refusals < 3) {
        refusals += 1
        socket.end(Buffer.concat([head, Buffer.from(fields)]))
        return
      }
      const { hostname, port } = new URL(database.url)
      const far = connect(Number(port), hostname).on('error', () => {})
      socket.pipe(far).pipe(socket)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const { db } = await open({ port: (server.address() as { port: number }).port })

    await migrate(db)

    expect(refusals).toBe(3)
  })

  it('only reads has its connection replaced', async () => {
    const { db, told } = await open({ poolSize: 1, deadlines: { connectionMs: 5_000, statementMs: 5_000 } })
    await db.run(defineStatement('test_read_only', sql`set default_transaction_read_only = on`), {})

    const { error } = await failureOf(
      db.run(defineStatement('test_write', sql`update organizations set name = name`), {}),
    )
    await db.run(defineStatement('test_write', sql`update organizations set name = name`), {})

    expect(error).toMatchObject({ name: 'DatabaseUnavailable', mayHaveRun: false })
    expect(told.lost).toBe(1)
  })

  it('makes a statement give way has it run again, a few times', async () => {
    const { db, told } = await open({ deadlines: { connectionMs: 5_000, statementMs: 5_000 } })
    const define = (text: string) => db.run(defineStatement('test_define', sql.raw(text)), {})
    // A sequence does not go back with the transaction that fails.
    await define('create sequence test_tries')
    await define(`create function test_give_way(times bigint, code text) returns bigint language plpgsql as $$
      declare tries bigint := nextval('test_tries');
      begin
        if tries <= times then raise sqlstate '40001' using message = 'give way'; end if;
        return tries;
      end $$`)
    const giveWay = (times: number) =>
      db.run(
        defineStatement<Record<never, never>, number>(
          'test_give_way',
          sql.raw(`select test_give_way(${times}, '')`),
          ([tries]) => tries,
        ),
        {},
      )

    expect(await giveWay(3)).toEqual([4])
    expect(told.retries).toEqual(['40001', '40001', '40001'])
    const { error } = await failureOf(giveWay(1_000))
    expect(error).toMatchObject({ name: 'DatabaseUnavailable', mayHaveRun: false })
    expect(told.retries).toHaveLength(3 + 4)
  })
})

describe('whether the database is reachable', () => {
  it('is told even where the pool is full', async () => {
    const { db, told } = await open({ poolSize: 1, deadlines: { connectionMs: 5_000, statementMs: 20_000 } })
    const busy = db.run(sleep, {}).catch(() => {})
    await vi.waitUntil(() => told.texts.includes(sleep.text))

    const startedAt = performance.now()
    expect(await db.isReachable()).toBe(true)
    expect(performance.now() - startedAt).toBeLessThan(1_000)

    await database.db.run(terminateOthers, {})
    await busy
  })
})
