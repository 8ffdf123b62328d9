import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { createPostgresDatabase } from '../support/database.ts'
import { useGateways } from '../support/gateway.ts'

// Each test imports a lot, and other test files keep the machine busy meanwhile.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 })

const gateways = useGateways()

const organizations = 4000
const rowsEach = 8
const names = Array.from({ length: organizations }, (_, i) => `Organization ${String(i).padStart(5, '0')}`)

const organizationsFile = `Name\n${names.join('\n')}\n`
const contactsFile = (rowsOf: (i: number) => readonly string[]) =>
  `Organization,Contact Protocol,Contact Label,Contact URI,Integration\n${names
    .flatMap((name, i) => rowsOf(i).map((row) => `${name},${row}\n`))
    .join('')}`

const kept = ['telephone,general,+1 203 413 4880,true', 'email,general,kept@example.com,true']
const manual = ['website,general,manual.example,false', 'website,general,manual.example,false']
const before = contactsFile((i) => [...kept, ...manual, `email,general,old${i}@example.com,true`])
/** Keeps some, replaces those of the integration, and has some twice. */
const after = contactsFile((i) => [
  ...kept,
  ...[1, 2, 3].map((n) => `email,service_desk,new${n}.${i}@example.com,true`),
  ...['true', 'true', 'false'].map((integration) => `telephone,fax,+1 800 555 01${i % 10}9,${integration}`),
])

const clean = 'clean'
let url: string
let sql: postgres.Sql
let drop = async () => {}
let cwd: string
let tests = 0
let account: string

beforeAll(async () => {
  const created = await createPostgresDatabase()
  url = created.url
  sql = postgres(url, { max: 4, onnotice: () => {} })
  drop = async () => {
    await sql.end()
    await created.drop()
  }
})
afterAll(() => drop())

const start = (...args: string[]) =>
  gateways.start(['import', 'after.csv', '--account', account, ...args], { cwd, env: { DATABASE_URL: url } })
async function run(account: string, ...files: string[]) {
  const gateway = await gateways.start(['import', ...files, '--account', account], { cwd, env: { DATABASE_URL: url } })
  expect(await gateway.exited, gateway.stderr).toEqual({ code: 0, signal: null })
  return gateway.stdout
}

/** An account of its own for each test, as it is before the import; and once one as it is after it. */
beforeEach(async () => {
  cwd = await gateways.folder()
  await writeFile(join(cwd, 'organizations.csv'), organizationsFile)
  await writeFile(join(cwd, 'before.csv'), before)
  await writeFile(join(cwd, 'after.csv'), after)
  if (tests === 0) await run(clean, 'organizations.csv', 'before.csv')
  if (tests === 0)
    expect(await run(clean, 'after.csv')).toContain(': 24000 created, 0 updated, 8000 unchanged, 4000 deleted')
  tests += 1
  account = `test ${tests}`
  await run(account, 'organizations.csv', 'before.csv')
})

/** All contacts of an account, as lines. */
async function contactsOf(name: string): Promise<string[]> {
  const rows = await sql`
    select o.name || ' ' || c.channel || ' ' || c.label || ' ' || c.value || ' ' || c.integration as line
    from contacts c
    join organizations o on o.account_id = c.account_id and o.id = c.organization_id
    join accounts a on a.id = c.account_id
    where a.name = ${name}`
  // In the order of JavaScript.
  return rows.map(({ line }) => line as string).toSorted()
}

/** Keys by which contacts are looked up, each with how often it is there. */
async function lookupsOf(name: string): Promise<string[]> {
  const rows = await sql`
    select l.channel || ' ' || l.key || ' ' || count(*) as line
    from contact_lookups l join accounts a on a.id = l.account_id
    where a.name = ${name} group by l.channel, l.key`
  return rows.map(({ line }) => line as string).toSorted()
}

async function expectClean() {
  expect(await run(account, 'after.csv')).toMatch(/after\.csv: contacts: .*, 0 failed/)
  expect(await contactsOf(account)).toEqual(await contactsOf(clean))
  expect(await lookupsOf(account)).toEqual(await lookupsOf(clean))
}

const newContacts = async () => {
  const [row] = await sql`select count(*)::integer as n from contacts c join accounts a on a.id = c.account_id
    where a.name = ${account} and c.value like 'new%'`
  return row!.n as number
}

/** Keeps an organization locked until the release or the end of the test, so that an import waits there. */
async function lockOrganization(name: string) {
  const held = Promise.withResolvers<void>()
  const released = Promise.withResolvers<void>()
  const transaction = sql.begin(async (inner) => {
    await inner`select from organizations o join accounts a on a.id = o.account_id
      where a.name = ${account} and o.name = ${name} for update of o`
    held.resolve()
    await released.promise
  })
  const release = async () => {
    released.resolve()
    await transaction
  }
  onTestFinished(release)
  await held.promise
  return release
}

/** Until the import waits for the lock, and has done what comes before it. */
async function waitsForLock() {
  await vi.waitUntil(
    async () => {
      const waiting = await sql`select from pg_stat_activity
        where datname = current_database() and application_name = 'contacts-gateway' and wait_event_type = 'Lock'`
      return waiting.length > 0
    },
    { timeout: 120_000 },
  )
}

describe('an import that is interrupted', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)(
    'by %s ends after what is under way, tells what it has done, and goes on from there',
    async (signal) => {
      const release = await lockOrganization(names[2000]!)
      const gateway = await start()
      await waitsForLock()
      await vi.waitUntil(async () => (await newContacts()) > 0)

      gateway.signal(signal)
      await gateway.printed(/Ending after what is under way\. Once more ends it at once\.\n/)
      await release()

      expect(await gateway.exited).toEqual({ code: 130, signal: null })
      const [, created, deleted] =
        /^after\.csv: contacts: (\d+) created, 0 updated, \d+ unchanged, (\d+) deleted, 0 failed, \d+ rows a second\.\nStopped: the same command goes on from there\.\n$/.exec(
          gateway.stdout,
        )!
      expect(await newContacts()).toBe(Number(created) / 2)
      expect(Number(deleted)).toBe(Number(created) / 6)
      expect(Number(created)).toBeLessThan(organizations * 6)
      await expectClean()
    },
  )

  it('twice ends at once', async () => {
    await lockOrganization(names[2000]!)
    const gateway = await start()
    await waitsForLock()

    gateway.signal('SIGINT')
    await gateway.printed(/Ending after what is under way/)
    gateway.signal('SIGINT')

    expect(await gateway.exited).toEqual({ code: null, signal: 'SIGINT' })
  })

  it('before anything is imported imports nothing', async () => {
    const locked = Promise.withResolvers<void>()
    const released = Promise.withResolvers<void>()
    const transaction = sql.begin(async (inner) => {
      await inner`lock table accounts in access exclusive mode`
      locked.resolve()
      await released.promise
    })
    await locked.promise
    const gateway = await start()
    await waitsForLock()

    gateway.signal('SIGINT')
    await gateway.printed(/Ending after what is under way/)
    released.resolve()
    await transaction

    expect(await gateway.exited).toEqual({ code: 130, signal: null })
    expect(gateway.stdout).toMatch(/^after\.csv: contacts: 0 created, 0 updated, 0 unchanged, 0 deleted, 0 failed/)
    expect(await newContacts()).toBe(0)
  })

  it('by SIGKILL, again and again at any moment, ends as if it had never been', async () => {
    for (let kills = 0; kills < 4; kills += 1) {
      const at = Math.floor(Math.random() * organizations)
      const release = await lockOrganization(names[at]!)
      const gateway = await start()
      await waitsForLock()
      gateway.signal('SIGKILL')
      expect(await gateway.exited).toEqual({ code: null, signal: 'SIGKILL' })
      await release()
      // While it runs freely, with what the other has left behind still at work perhaps.
      const next = await start()
      const enough = (await newContacts()) + Math.random() * organizations
      let isOver = false
      void next.exited.then(() => {
        isOver = true
      })
      await vi.waitUntil(async () => isOver || (await newContacts()) >= enough, { timeout: 120_000, interval: 5 })
      next.signal('SIGKILL')
      await next.exited
    }

    await expectClean()
  })

  it('by the database fails in words, and ends as if nothing had been once it is run again', async () => {
    const release = await lockOrganization(names[3000]!)
    const gateway = await start()
    await waitsForLock()

    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'contacts-gateway'`
    await release()

    expect(await gateway.exited).toEqual({ code: 1, signal: null })
    expect(gateway.stdout).toMatch(
      /^after\.csv: contacts: \d+ created, 0 updated, \d+ unchanged, \d+ deleted, 0 failed\.\n$/,
    )
    expect(gateway.stderr).toMatch(
      /(?:^|\n)(The database refused: terminating connection due to administrator command \(57P01\)|The connection to the database was lost \(\w+\))\.\nWhat was imported before stays\. The same command goes on from there\.\n$/,
    )
    await expectClean()
  })
})

describe('an import', () => {
  it('that is repeated writes not a row', async () => {
    await run(account, 'after.csv')
    const rows = () => sql`select c.xmin::text, c.* from contacts c join accounts a on a.id = c.account_id
      where a.name = ${account} order by c.id`
    const revisions = () => sql`select o.xmin::text, o.* from organizations o join accounts a on a.id = o.account_id
      where a.name = ${account} order by o.id`
    const written = [await rows(), await revisions()]

    const stdout = await run(account, 'organizations.csv', 'after.csv')

    expect(stdout).toMatch(/: 0 created, 0 updated, 4000 unchanged, 0 failed,/)
    expect(stdout).toMatch(/: 0 created, 0 updated, 32000 unchanged, 0 deleted, 0 failed,/)
    const now = [await rows(), await revisions()]
    // A lock leaves its mark in the row of an organization, and changes nothing else.
    expect(now[0]).toEqual(written[0])
    expect(now[1]!.map(({ xmin: _, ...row }) => row)).toEqual(written[1]!.map(({ xmin: _, ...row }) => row))
    expect(written[0]).toHaveLength(organizations * (rowsEach + 2))
  })

  it('says in one sentence that there is no database', async () => {
    const gateway = await gateways.start(['import', 'after.csv'], {
      cwd,
      env: { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing' },
    })

    expect(await gateway.exited).toEqual({ code: 1, signal: null })
    expect(gateway).toMatchObject({
      stdout: '',
      stderr: 'The database cannot be reached (ECONNREFUSED). Check DATABASE_URL.\n',
    })
  })
})
