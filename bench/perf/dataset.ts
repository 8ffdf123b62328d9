import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import connectTo, { type Sql } from 'postgres'
import type { Cleanup } from '../faults/cleanup.ts'
import { createPostgres, findPrograms } from '../faults/postgres.ts'
import { postgraphileSchema } from './workloads.ts'

const run = promisify(execFile)
const gateway = fileURLToPath(new URL('../../bin/gateway.js', import.meta.url))

/** The account of callers who need not authenticate, and therefore the one of all data here. */
const accountName = 'demo'
/** The version that npm brings. */
const postgresVersion = '18'

/**
 * The same for everybody. What is measured is the servers, so the disk is left out of it, and vacuuming happens between
 * trials, not in them.
 */
const settings = {
  shared_buffers: '512MB',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  autovacuum: 'off',
  max_wal_size: '4GB',
  checkpoint_timeout: '1h',
}

export interface Server {
  /** E.g. `18.4`. */
  readonly version: string
  readonly pid: number
  urlOf(database: string): string
  /** A database with as many organizations as that, each with as many contacts. */
  seed(name: string, organizations: number, contacts: number): Promise<Dataset>
}

/** A database and what is to be known of it. */
export interface Dataset {
  readonly url: string
  /** The id of the account that everything belongs to. */
  readonly account: number
  /** Of a token that may do everything. */
  readonly token: string
  /** All organizations, in an order without any order, which is the same each time. */
  readonly organizationIds: readonly number[]
  readonly size: { organizations: number; contacts: number }
  use<Result>(work: (sql: Sql) => Promise<Result>): Promise<Result>
  /** Removes what has been added since it was made. */
  restore(): Promise<void>
}

/** Starts a PostgreSQL of our own, which goes with the cleanup. */
export async function startPostgres(cleanup: Cleanup): Promise<Server> {
  const server = await createPostgres(cleanup, { programs: await findPrograms(postgresVersion) })
  await server.start()
  await server.use(async (sql) => {
    for (const [name, value] of Object.entries(settings)) await sql.unsafe(`alter system set ${name} = '${value}'`)
  })
  await server.stop('fast')
  await server.start()
  const pid = await server.use(async (sql) => {
    const [file] = await sql<{ text: string }[]>`select pg_read_file('postmaster.pid') as text`
    return Number.parseInt(file!.text, 10)
  })
  const urlOf = (database: string) => `postgres://postgres@127.0.0.1:${server.port}/${database}`
  return {
    version: server.version,
    pid,
    urlOf,
    async seed(name, organizations, contacts) {
      await server.use((sql) => sql.unsafe(`create database ${name}`))
      return seed(urlOf(name), organizations, contacts)
    },
  }
}

async function seed(url: string, organizations: number, contacts: number): Promise<Dataset> {
  const command = async (...args: string[]) => {
    const env = { PATH: process.env.PATH, DATABASE_URL: url }
    const { stdout } = await run(process.execPath, [gateway, ...args], { env, maxBuffer: 2 ** 26 })
    return stdout.trim()
  }
  const amounts = ['--organizations', String(organizations), '--contacts', String(contacts)]
  await command('seed', '--account', accountName, ...amounts)
  const permissions = ['organizations:write', 'contacts:write']
  const token = await command('token', 'create', 'bench', '--account', accountName, '--permission', ...permissions)

  const use: Dataset['use'] = async (work) => {
    const sql = connectTo(url, { max: 1, onnotice: () => {} })
    try {
      return await work(sql)
    } finally {
      await sql.end({ timeout: 1 })
    }
  }
  return use(async (sql) => {
    await sql.unsafe(forPostgraphile)
    await sql.unsafe('vacuum analyze')
    // What is written here shall not be written to the disk while something is measured.
    await sql.unsafe('checkpoint')
    const [known] = await sql<{ account: number; contacts: number; last: number }[]>`
      select (select id::int from accounts where name = ${accountName}) as account,
        (select count(*)::int from contacts) as contacts, (select max(id)::int from contacts) as last`
    const { account, contacts: count, last } = known!
    const ids = await sql<{ id: number }[]>`
      select id::int from organizations where account_id = ${account} order by md5(id::text), id`
    const size = { organizations: ids.length, contacts: count }
    if (size.organizations !== organizations || size.contacts !== organizations * contacts) {
      throw new Error(`the seed has brought ${size.organizations} organizations and ${size.contacts} contacts`)
    }
    const restore = () =>
      use(async (db) => {
        await db`delete from contacts where id > ${last}`
        await db`update organizations set contacts_revision = 0 where contacts_revision <> 0`
        await db.unsafe('vacuum (analyze) contacts, contact_lookups, organizations')
        await db.unsafe('checkpoint')
      })
    return { url, account, token, organizationIds: ids.map(({ id }) => id), size, use, restore }
  })
}

/**
 * PostGraphile turns functions into mutations. This one writes what the verb of the gateway writes: the revision of the
 * organization, the contact, and the key under which it is found.
 */
const forPostgraphile = `
  create schema ${postgraphileSchema};
  create function ${postgraphileSchema}.add_contact(
    account_id bigint, organization_id bigint, channel contact_channel, label contact_label, value text,
    integration boolean
  ) returns contacts language sql volatile as $$
    with organization as (
      update organizations o set contacts_revision = o.contacts_revision + 1
      where o.account_id = add_contact.account_id and o.id = add_contact.organization_id
      returning o.account_id, o.id
    ), added as (
      insert into contacts (account_id, organization_id, channel, label, value, integration)
      select o.account_id, o.id, add_contact.channel, add_contact.label, add_contact.value, add_contact.integration
      from organization o
      returning *
    ), looked_up as (
      insert into contact_lookups (account_id, channel, key, contact_id)
      select added.account_id, added.channel, lower(added.value), added.id from added
    )
    select added.* from added
  $$;`
