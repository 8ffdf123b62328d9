import postgres from 'postgres'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { answer, type RestSource, startRestSource } from '../pull/rest-source.ts'
import { createPostgresDatabase } from '../support/database.ts'
import { type Gateway, useGateways } from '../support/gateway.ts'

// Each test starts processes, and other test files keep the machine busy meanwhile.
vi.setConfig({ testTimeout: 180_000 })

const gateways = useGateways()

async function aDatabase() {
  const { url, drop } = await createPostgresDatabase()
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  onTestFinished(async () => {
    await sql.end()
    await drop()
  })
  /** All that an account has, without the ids. */
  const seen = (account = 'demo') => sql`
    select o.name, p.name as parent, o.disabled, o.source, o.source_id, c.channel, c.label, c.value, c.integration
    from accounts a join organizations o on o.account_id = a.id
    left join organizations p on p.account_id = a.id and p.id = o.parent_id
    left join contacts c on c.account_id = a.id and c.organization_id = o.id
    where a.name = ${account} order by o.name, c.channel, c.label, c.value`
  return { url, sql, seen }
}

/** Another gateway, in a process of its own, that wants a token. */
async function anotherGateway() {
  const database = await aDatabase()
  const env = { DATABASE_URL: database.url }
  await gateways.run(['seed'], { env })
  await gateways.run(['seed', '--organizations', '120', '--contacts', '3'], { env })
  const { stdout } = await gateways.run(
    ['token', 'create', 'reader', '--account', 'demo', '--permission', 'organizations:read', 'contacts:read'],
    { env },
  )
  const { url } = await gateways.serve({ env: { ...env, AUTH: 'token' } })
  return { database, token: stdout.trim(), base: new URL(url).origin }
}

/** Never answers the next request to a path, and tells when it has come. */
function hold(rest: RestSource, on: RegExp): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  rest.fail(() => resolve(), { on })
  return promise
}

const everythingOf = ({ stdout, stderr }: Pick<Gateway, 'stdout' | 'stderr'>) => stdout + stderr

describe('pull from another gateway', () => {
  it('brings what it has, and what changes there, and tells what it did', async () => {
    const { database: there, token, base } = await anotherGateway()
    const here = await aDatabase()
    const env = { DATABASE_URL: here.url, PULL_TOKEN: token }
    const pull = () => gateways.run(['pull', base, '--remote-account', 'demo', '--burst', '1000'], { env })

    const first = await pull()

    expect(first.code).toBe(0)
    expect(first.stdout).toMatch(
      /^Organizations: 1\d\d created, 0 updated, 0 unchanged, 0 deleted, 0 failed\.\nContacts: \d+ created, 0 updated, 0 unchanged, 0 deleted, 0 failed\.\nRequests: 1\d\d, of which 0 found nothing changed\.\n$/,
    )
    const seen = await here.seen()
    expect(seen.length).toBeGreaterThan(300)
    expect([...seen]).toEqual([...(await there.seen())])

    await there.sql`update contacts set value = 'new@best-it.com' where id = 65`
    await there.sql`delete from contacts where id = 71`
    await there.sql`update organizations set name = 'Best IT Group', disabled = true where name = 'Best IT'`
    const second = await pull()

    expect(second.code).toBe(0)
    expect(second.stdout).toMatch(
      /^Organizations: 0 created, 1 updated, 1\d\d unchanged, 0 deleted, 0 failed\.\nContacts: 0 created, 1 updated, 5 unchanged, 1 deleted, 0 failed\.\nRequests: (\d+), of which \d+ found nothing changed\.\n$/,
    )
    expect([...(await here.seen())]).toEqual([...(await there.seen())])
    expect(everythingOf(first) + everythingOf(second)).not.toContain(token)
  })

  it('tells what to mend where the token is none', async () => {
    const { base } = await anotherGateway()
    const here = await aDatabase()

    const ended = await gateways.run(['pull', base, '--remote-account', 'demo', '--every', '1s'], {
      env: { DATABASE_URL: here.url, PULL_TOKEN: 'not-a-token' },
    })

    expect(ended).toEqual({
      code: 1,
      signal: null,
      stdout: '',
      stderr: 'The source did not accept the token (401): check PULL_TOKEN.\n',
    })
  })
})

describe('pull', () => {
  it('goes on where it was interrupted, by a signal or by force', async () => {
    const rest = await startRestSource()
    for (let id = 1; id <= 30; id += 1) rest.addContact(rest.add({ id, name: `O${id}` }))
    const here = await aDatabase()
    const options = { env: { DATABASE_URL: here.url, PULL_TOKEN: rest.token } }
    const args = ['pull', rest.url, '--burst', '1000']
    const doneNow = async () => (await here.seen()).filter(({ value }) => value !== null).length

    const atTwelve = hold(rest, /\/12\/contacts/)
    const first = await gateways.start(args, options)
    await atTwelve
    first.signal('SIGTERM')
    expect(await first.exited).toEqual({ code: 130, signal: null })
    expect(first.stderr).toMatch(/The pull was interrupted\. Run it again: it goes on from there\.\n$/)
    expect(await doneNow()).toBeGreaterThan(0)

    const begun = hold(rest, /contacts/)
    const second = await gateways.start(args, options)
    await begun
    second.signal('SIGKILL')
    await second.exited
    // What it has sent is done before anybody else can be.
    await vi.waitUntil(
      async () => (await here.sql`select from pg_stat_activity where datname = current_database()`).length === 1,
      { timeout: 30_000 },
    )
    const done = await doneNow()
    rest.take()
    const third = await gateways.run(args, options)

    expect(third).toMatchObject({ code: 0, stdout: expect.stringMatching(/^The pull that was interrupted went on/) })
    expect(rest.take()).toHaveLength(1 + 30 - done)
    expect(await doneNow()).toBe(30)
  })

  it('keeps in step, and goes on after rounds that failed, until it is stopped', async () => {
    const rest = await startRestSource()
    const organization = rest.add({ id: 1, name: 'Best IT' })
    rest.addContact(organization, { value: 'one@best-it.com' })
    const here = await aDatabase()
    const gateway = await gateways.start(['pull', rest.url, '--every', '1s', '--account', 'mirror'], {
      env: { DATABASE_URL: here.url, PULL_TOKEN: rest.token },
    })
    await gateway.printed(/Contacts: 1 created/)

    rest.fail(answer(418), { on: /organizations\?/ })
    await gateway.printed(/answered 418\.\nThe pull failed, and is tried again after 1s\.\n/)
    rest.fail(answer(401), { on: /organizations\?/ })
    await gateway.printed(/did not accept the token \(401\): check PULL_TOKEN\.\nThe pull failed/)
    organization.contacts[0]!.value = 'two@best-it.com'
    await gateway.printed(/Contacts: 0 created, 1 updated/)
    expect(await here.seen('mirror')).toMatchObject([{ value: 'two@best-it.com' }])

    const rounds = gateway.stdout.match(/^Requests/gm)!.length
    await gateway.printed(new RegExp(`(?:Requests[^]*){${rounds + 1}}`))
    expect(await gateway.stop()).toMatchObject({ code: expect.toSatisfy((code) => code === 0 || code === 130) })
    expect(everythingOf(gateway)).not.toContain(rest.token)
  })

  it('says by its end that something was refused', async () => {
    const rest = await startRestSource()
    rest.addContact(rest.add({ id: 1, name: 'Best IT' }), { id: 7, label: 'fax' })
    const here = await aDatabase()

    const ended = await gateways.run(['pull', rest.url], {
      env: { DATABASE_URL: here.url, PULL_TOKEN: rest.token },
    })

    expect(ended).toMatchObject({ code: 3, stdout: expect.stringContaining('Contacts: 0 created') })
    expect(ended.stderr).toContain('The contacts of organization 1 were left as they are: contact 7: Label "fax"')
  })

  it('stays within the limits that the source has', async () => {
    const rest = await startRestSource()
    for (let id = 1; id <= 9; id += 1) rest.add({ id })
    const here = await aDatabase()

    await gateways.run(['pull', rest.url, '--burst', '4', '--concurrency', '2'], {
      env: { DATABASE_URL: here.url, PULL_TOKEN: rest.token },
    })

    const times = rest.requests.map(({ at }) => at)
    expect(times).toHaveLength(10)
    // The server has seen every fifth at least two seconds after the fourth before it.
    for (let i = 4; i < times.length; i += 1) expect(times[i]! - times[i - 4]!).toBeGreaterThan(1950)
    expect(rest.mostAtOnce).toBeLessThanOrEqual(2)
  })

  it.each([
    [['http://example.com'], /^The token would go to example\.com in the clear/],
    [['https://me:secret@example.com'], /^The address must hold no user name or password/],
    [['nothing'], /^The address to pull from must be as https:/],
    [[], /missing required argument 'url'/],
    [['https://example.com', '--every', 'soon'], /It must be a time such as 15m/],
    [['https://example.com', '--burst', '0'], /It must be an integer from 1 to 999999/],
  ])('refuses to be called with %j', async (args, message) => {
    const ended = await gateways.run(['pull', ...args], { env: { PULL_TOKEN: 'a-token' } })

    expect(ended).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(message) })
    expect(ended.stderr).not.toContain('secret')
  })
})
