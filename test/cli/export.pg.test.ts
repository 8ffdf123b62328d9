import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { openDatabase } from '../../src/db/client.ts'
import { migrate } from '../../src/db/migrate.ts'
import { ensureAccount } from '../../src/domain/accounts.ts'
import { allPermissions } from '../../src/domain/context.ts'
import { plausibleOrganization } from '../../src/domain/plausible.ts'
import { seedOrganizations } from '../../src/domain/seed.ts'
import { createPostgresDatabase } from '../support/database.ts'
import { testDeadlines } from '../support/deadlines.ts'
import { useGateways } from '../support/gateway.ts'

// Each test starts processes, and other test files keep the machine busy meanwhile.
vi.setConfig({ testTimeout: 120_000 })

const gateways = useGateways()
const program = fileURLToPath(new URL('../../bin/gateway.js', import.meta.url))

const organizations = 1000
const contactsEach = 20

/** More than fits into what lies between two processes. */
async function filledDatabase() {
  const { url, drop } = await createPostgresDatabase()
  onTestFinished(drop)
  const db = await openDatabase({ url, poolSize: 1, prepare: true, deadlines: testDeadlines })
  try {
    await migrate(db)
    const ctx = { db, account: await ensureAccount(db, 'demo'), permissions: allPermissions }
    const seeds = Array.from({ length: organizations }, (_, i) => plausibleOrganization(i, contactsEach))
    await seedOrganizations(ctx, seeds)
  } finally {
    await db.close()
  }
  return url
}

/** Keeps everybody from reading contacts, until the test ends; `waiting` tells that somebody would. */
async function lockContacts(url: string) {
  const sql = postgres(url, { max: 2, onnotice: () => {} })
  const locked = Promise.withResolvers<void>()
  const released = Promise.withResolvers<void>()
  const transaction = sql.begin(async (inner) => {
    await inner`lock table contacts in access exclusive mode`
    locked.resolve()
    await released.promise
  })
  onTestFinished(async () => {
    released.resolve()
    await transaction
    await sql.end()
  })
  await locked.promise
  return {
    waiting: () =>
      vi.waitUntil(
        async () => {
          const waiting = await sql`select from pg_locks
            where not granted and relation = 'contacts'::regclass
              and database = (select oid from pg_database where datname = current_database())`
          return waiting.length > 0
        },
        { timeout: 60_000 },
      ),
  }
}

describe('export', () => {
  it('writes the same to a file and to who reads, whole and in order', async () => {
    const env = { DATABASE_URL: await filledDatabase() }
    const cwd = await gateways.folder()

    const piped = await gateways.run(['export', 'contacts'], { cwd, env })
    const filed = await gateways.run(['export', 'contacts', '--output', 'c.csv'], { cwd, env })

    expect([piped.code, filed.code, filed.stdout]).toEqual([0, 0, ''])
    expect(piped.stdout).toBe(await readFile(join(cwd, 'c.csv'), 'utf8'))
    const names = piped.stdout
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((row) => row.split(',')[1]!)
    expect(names).toHaveLength(organizations * contactsEach)
    const bytes = names.map((name) => Buffer.from(name))
    expect(bytes.every((name, i) => i === 0 || bytes[i - 1]!.compare(name) <= 0)).toBe(true)
    expect(filed.stderr).toMatch(/20000 contacts were exported, \d+ a second\.\n$/)
  })

  it('ends quietly when its reader has seen enough', async () => {
    const env = { PATH: process.env.PATH, DATABASE_URL: await filledDatabase() }
    const child = spawn(process.execPath, [program, 'export', 'contacts'], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    const said = text(child.stderr)
    const exited = once(child, 'exit')

    await once(child.stdout, 'data')
    child.stdout.destroy()

    expect(await exited).toEqual([0, null])
    expect(await said).not.toMatch(/exported|Error|EPIPE/)
  })

  it.each(['SIGINT', 'SIGTERM'] as const)('stops at %s, and leaves the file that was there', async (signal) => {
    const url = await filledDatabase()
    const cwd = await gateways.folder()
    await writeFile(join(cwd, 'c.csv'), 'before')
    const contacts = await lockContacts(url)
    const gateway = await gateways.start(['export', 'contacts', '--output', 'c.csv'], {
      cwd,
      env: { DATABASE_URL: url },
    })
    await contacts.waiting()
    expect(await readdir(cwd)).toHaveLength(2)

    gateway.signal(signal)

    expect(await gateway.exited).toEqual({ code: 130, signal: null })
    expect(gateway.stderr).toBe('The export was interrupted.\n')
    expect(await readdir(cwd)).toEqual(['c.csv'])
    expect(await readFile(join(cwd, 'c.csv'), 'utf8')).toBe('before')
  })

  it('leaves the file that was there when there is no database', async () => {
    const cwd = await gateways.folder()
    await writeFile(join(cwd, 'c.csv'), 'before')

    const ended = await gateways.run(['export', 'contacts', '--output', 'c.csv'], {
      cwd,
      env: { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing' },
    })

    expect(ended).toMatchObject({ code: 1, stdout: '' })
    expect(ended.stderr).toBe('The database cannot be reached (ECONNREFUSED). Check DATABASE_URL.\n')
    expect(await readdir(cwd)).toEqual(['c.csv'])
    expect(await readFile(join(cwd, 'c.csv'), 'utf8')).toBe('before')
  })
})
