import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { openDatabase } from '../../src/db/client.ts'
import { migrate } from '../../src/db/migrate.ts'
import { createAccount } from '../../src/domain/accounts.ts'
import { testDeadlines } from '../support/deadlines.ts'
import { useGateways } from '../support/gateway.ts'

// A test starts several processes, each of which loads a database.
vi.setConfig({ testTimeout: 120_000 })

const gateways = useGateways()

/** A database with two accounts, to be copied: making one takes far longer. */
let template: string
beforeAll(async () => {
  template = await mkdtemp(join(tmpdir(), 'contacts-gateway-template-'))
  const db = await openDatabase({
    url: `pglite:${join(template, 'data')}`,
    poolSize: 1,
    prepare: true,
    deadlines: testDeadlines,
  })
  try {
    await migrate(db)
    await createAccount(db, 'acme')
    await createAccount(db, 'wonder')
  } finally {
    await db.close()
  }
})
afterAll(() => rm(template, { recursive: true, force: true }))

/** The command line on a copy of that database, or on one that is not there yet. */
async function useCommands({ isNew = false } = {}) {
  const cwd = await gateways.folder()
  if (!isNew) await cp(join(template, 'data'), join(cwd, 'data'), { recursive: true })
  const env = { DATABASE_URL: 'pglite:data', AUTH: 'token' }
  return {
    cwd,
    run: (...args: string[]) => gateways.run(args, { cwd, env }),
    serve: (more: Record<string, string> = {}) => gateways.serve({ cwd, env: { ...env, ...more } }),
  }
}
type Run = Awaited<ReturnType<typeof useCommands>>['run']

const printed = (stdout: string) => ({ code: 0, signal: null, stdout, stderr: '' })
const failed = (stderr: string) => ({ code: 1, signal: null, stdout: '', stderr })

const tokenLine = /^cgw_[\w-]{43}\n$/

async function create(run: Run, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await run('token', 'create', ...args)
  expect(stdout, stderr).toMatch(tokenLine)
  return stdout.trim()
}

const ask = async (url: string, token?: string, headers: Record<string, string> = {}) => {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...headers,
    },
    body: JSON.stringify({ query: '{ organizations { totalCount } }' }),
  })
  return { status: response.status, body: await response.json() }
}

const instant = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`

describe('account', () => {
  it('creates accounts and lists them by name', async () => {
    const { run } = await useCommands({ isNew: true })

    const created = [await run('account', 'create', 'wonder'), await run('account', 'create', ' acme ')]
    const { stdout, ...ended } = await run('account', 'list')

    expect(created).toEqual([printed('Account wonder was created.\n'), printed('Account acme was created.\n')])
    expect(ended).toEqual({ code: 0, signal: null, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^name    created\nacme    ${instant}\nwonder  ${instant}\n$`))
  })

  it('refuses a name that is taken, and names that nobody can have', async () => {
    const { run } = await useCommands()

    const refusals = [await run('account', 'create', 'acme'), await run('account', 'create', 'x'.repeat(65))]

    expect(refusals).toEqual([
      failed('Account name has already been taken.\n'),
      failed('Account name is too long: 65 characters, at most 64 are allowed.\n'),
    ])
  })
})

describe('token', () => {
  it('prints a token alone on stdout, and about it on stderr', async () => {
    const { run } = await useCommands()

    const ended = await run('token', 'create', 'Import', '--account', 'acme', '--permission', 'contacts:read')

    expect(ended).toEqual({
      code: 0,
      signal: null,
      stdout: expect.stringMatching(tokenLine),
      stderr: 'Token 1 was created. It is shown this once:\n',
    })
  })

  it('lists tokens with their state, and never what only their holders know', async () => {
    const { run } = await useCommands()
    const made = [
      await create(run, 'Import', '--account', 'acme', '--permission', 'contacts:write', 'organizations:read'),
      await create(run, 'Both', '--account', 'wonder', 'acme', '--permission', 'contacts:read', '--expires', '90d'),
      await create(run, 'Gone', '--account', 'wonder', '--permission', 'contacts:read'),
    ]
    const revoked = await run('token', 'revoke', '3')

    const { stdout, ...ended } = await run('token', 'list')

    expect(revoked).toEqual(printed('Token 3 is revoked.\n'))
    expect(ended).toEqual({ code: 0, signal: null, stderr: '' })
    const rows = stdout.split('\n').map((line) => line.split(/ {2,}/))
    expect(rows).toEqual([
      ['id', 'name', 'accounts', 'permissions', 'state', 'last used'],
      ['1', 'Import', 'acme', 'contacts:write, organizations:read', 'valid', 'never'],
      ['2', 'Both', 'acme, wonder', 'contacts:read', expect.stringMatching(`^valid until ${instant}$`), 'never'],
      ['3', 'Gone', 'wonder', 'contacts:read', expect.stringMatching(`^revoked ${instant}$`), 'never'],
      [''],
    ])
    const until = Date.parse(rows[2]![4]!.replace('valid until ', ''))
    expect(Math.abs(until - Date.now() - 90 * 86_400_000)).toBeLessThan(600_000)
    for (const token of made) {
      expect(stdout).not.toContain(token.slice(4))
      expect(stdout).not.toContain(createHash('sha256').update(token).digest('hex'))
    }
  })

  it('refuses accounts and permissions that there are not, and creates nothing', async () => {
    const { run } = await useCommands()

    const refusals = [
      await run('token', 'create', 'T', '--account', 'acme', 'nobody', '--permission', 'contacts:read'),
      await run('token', 'create', 'T', '--account', 'acme', '--permission', 'contacts:fly'),
      await run(
        'token',
        'create',
        'T',
        '--account',
        'acme',
        '--permission',
        'contacts:read',
        '--expires',
        '2020-01-01',
      ),
    ]

    expect(refusals).toEqual([
      failed('There is no account of the name "nobody".\n'),
      failed(
        'Permission "contacts:fly" is not one of organizations:read, organizations:write, contacts:read, contacts:write.\n',
      ),
      failed('The expiry must be in the future.\n'),
    ])
    expect((await run('token', 'list')).stdout).toBe('id  name  accounts  permissions  state  last used\n')
  })

  it.each(['never', '90', '90w', '-1d', '1.5d', 'tomorrow', 'in 2099', '2099-13-01', '+100000-01-01'])(
    'refuses the expiry %s, and touches nothing',
    async (expires) => {
      const { run, cwd } = await useCommands({ isNew: true })

      const ended = await run(
        'token',
        'create',
        'T',
        '--account',
        'a',
        '--permission',
        'contacts:read',
        `--expires=${expires}`,
      )

      expect(ended).toMatchObject({ code: 2, stdout: '' })
      expect(ended.stderr).toContain('It must be a time such as 90d, 12h or 30m, or an instant.')
      expect(existsSync(join(cwd, 'data'))).toBe(false)
    },
  )

  it.each([
    [['create'], "required option '--account <name...>' not specified"],
    [['create', '--account', 'acme', '--permission=contacts:read'], "missing required argument 'name'"],
    [['create', 'T', '--permission', 'contacts:read'], "required option '--account <name...>' not specified"],
    [['create', 'T', '--account', 'acme'], "required option '--permission <permission...>' not specified"],
    [['revoke'], "missing required argument 'id'"],
    [['list', 'more'], 'too many arguments'],
    [['bogus'], "unknown command 'bogus'"],
  ])('refuses %j with exit code 2, and touches nothing', async (args, message) => {
    const { run, cwd } = await useCommands({ isNew: true })

    const ended = await run('token', ...args)

    expect(ended).toMatchObject({ code: 2, stdout: '' })
    expect(ended.stderr).toContain(message)
    expect(existsSync(join(cwd, 'data'))).toBe(false)
  })

  it('tells which token there is not to revoke', async () => {
    const { run } = await useCommands()

    const refusals = [await run('token', 'revoke', '7'), await run('token', 'revoke', '1x')]

    expect(refusals).toEqual([
      failed('There is no token with the id 7.\n'),
      failed('There is no token with the id 1x.\n'),
    ])
  })
})

describe('--help', () => {
  it.each([
    ['account', [], 'Create and list accounts: each has data of its own.'],
    ['account', ['create'], 'Create an account. Callers choose it by its name, in X-Xurrent-Account.'],
    ['account', ['list'], 'List the accounts.'],
    ['token', [], 'Create, list and revoke the tokens of AUTH=token.'],
    ['token', ['create'], 'Create a token and print it: this once, since only its digest is kept.'],
    ['token', ['list'], 'List the tokens, without what only their holders know.'],
    ['token', ['revoke'], 'Revoke a token for good. Running gateways notice within five seconds.'],
  ])('of %s %j says what it does, and touches nothing', async (command, args, description) => {
    const { run, cwd } = await useCommands({ isNew: true })

    const { code, stdout, stderr } = await run(command, ...args, '--help')

    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^Usage: gateway ${[command, ...args].join(' ')} .*\n`))
    expect(stdout.replace(/\s+/g, ' ')).toContain(description)
    expect(existsSync(join(cwd, 'data'))).toBe(false)
  })

  it('of token create names every permission and forms of an expiry', async () => {
    const { run } = await useCommands({ isNew: true })

    const { stdout } = await run('token', 'create', '--help')

    const text = stdout.replace(/\s+/g, ' ')
    expect(text).toContain('organizations:read, organizations:write, contacts:read, contacts:write')
    expect(text).toContain('90d, 12h, 30m')
  })
})

describe('serve', () => {
  const unauthorized = {
    status: 401,
    body: { errors: [{ message: 'Unauthorized', extensions: { code: 'UNAUTHENTICATED' } }] },
  }

  it('by AUTH=token answers with a token of the command line and not without, from accounts without a row', async () => {
    const { run, serve } = await useCommands()
    const token = await create(run, 'T', '--account', 'acme', '--permission', 'organizations:read')
    const { gateway, url } = await serve()

    const answers = [await ask(url, token), await ask(url), await ask(url, `cgw_${'a'.repeat(43)}`)]

    expect(answers).toEqual([
      { status: 200, body: { data: { organizations: { totalCount: 0 } } } },
      unauthorized,
      unauthorized,
    ])
    expect(gateway.stdout).toContain('-H "authorization: Bearer $TOKEN"')
  })

  it('puts neither a token nor its digest into its logs, whatever the level', async () => {
    const { run, serve } = await useCommands()
    const token = await create(run, 'T', '--account', 'acme', '--permission', 'organizations:read')
    const unknown = `cgw_${'b'.repeat(43)}`
    const { gateway, url } = await serve({ LOG_LEVEL: 'trace', RATE_LIMIT: 'on', RATE_LIMIT_REQUESTS: '2' })

    const answers = [
      await ask(url, token),
      await ask(url, token, { 'x-xurrent-account': 'other' }),
      await ask(url, unknown),
      await ask(url, token),
      await ask(url, token),
      await ask(url.replace('/graphql', `/graphql?token=${token}`), token),
      await ask(url.replace('/graphql', '/v1/organizations'), token),
    ]
    await gateway.stop()

    expect(answers.map(({ status }) => status)).toContain(429)
    const logged = gateway.stdout + gateway.stderr
    expect(logged).toContain('stopping')
    for (const secret of [token, unknown]) {
      expect(logged).not.toContain(secret.slice(4))
      expect(logged).not.toContain(createHash('sha256').update(secret).digest('hex'))
    }
  })

  it.each(['0.0.0.0', '::', '192.0.2.1', 'localhost.example', '127.0.0.1.example'])(
    'refuses to start without authentication on %s',
    async (host) => {
      const cwd = await gateways.folder()

      const ended = await gateways.run(['serve'], {
        cwd,
        env: { HOST: host, AUTH: 'none', DATABASE_URL: 'pglite:data' },
      })

      expect(ended).toEqual(
        failed(
          'The environment is not usable:\n' +
            '  - AUTH must be token or jwt where HOST is not a loopback address: with none, anybody may read and write.\n',
        ),
      )
      expect(existsSync(join(cwd, 'data'))).toBe(false)
    },
  )

  it('is not open on every address by default either', async () => {
    const ended = await gateways.run(['serve'], { env: { HOST: '0.0.0.0', DATABASE_URL: 'pglite:memory' } })

    expect(ended).toMatchObject({ code: 1, stdout: '' })
  })

  it('starts with authentication on every address', async () => {
    const { serve } = await useCommands()

    const { url } = await serve({ HOST: '0.0.0.0' })

    expect(await ask(url.replace('0.0.0.0', '127.0.0.1'))).toEqual(unauthorized)
  })
})
