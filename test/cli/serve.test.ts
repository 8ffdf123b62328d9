import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { Agent } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, vi } from 'vitest'
import { firstQuery } from '../../src/graphql/handler.ts'
import { beginRequest, executeAt, keptConnection, useGateways, warningsOf } from '../support/gateway.ts'
import { dataOf, resultOf } from '../support/graphql.ts'

// Each test starts processes, and other test files keep the machine busy meanwhile.
vi.setConfig({ testTimeout: 120_000 })

const gateways = useGateways()

/** The sample of product.md, in list order. */
const bestIt = [
  [68, 'GENERAL', '+1 (203) 413 4880'],
  [67, 'SERVICE_DESK', '+1 (800) 4-BEST-IT or +1 (800) 423 7848'],
  [70, 'FAX', '+1 (203) 413 4881'],
  [65, 'GENERAL', 'info@best-it.com'],
  [69, 'SERVICE_DESK', 'helpdesk@best-it.com'],
  [66, 'GENERAL', 'www.best-it.com'],
  [71, 'SERVICE_DESK', 'www.support.best-it.com'],
]

const readOrganizations = `{
  organizations { totalCount }
  organization(id: 1) { contacts { nodes { ... on ContactDetails { databaseId label value } } } }
}`

const addContact = (value: string) =>
  `mutation {
    addContact(input: { organizationId: 1, contact: { email: { label: GENERAL, value: "${value}" } } }) {
      ... on AddContactSuccess { contact { ... on ContactDetails { id value } } }
    }
  }`

interface ContactRow {
  databaseId: number
  label: string
  value: string
}
const rowsOf = (nodes: ContactRow[]) => nodes.map(({ databaseId, label, value }) => [databaseId, label, value])

describe('the embedded database', () => {
  it('serves the sample to the prepared query, without any configuration', async () => {
    const { gateway, url } = await gateways.serve()

    const { organizations } = await dataOf(executeAt(url)(firstQuery))

    expect(organizations.nodes.map(({ name }: { name: string }) => name)).toEqual([
      'Best IT',
      'Harbour Freight Forwarding',
    ])
    const [{ contacts, children }] = organizations.nodes
    expect(contacts.totalCount).toBe(7)
    expect(rowsOf(contacts.nodes)).toEqual(bestIt)
    expect(children.nodes.map(({ name }: { name: string }) => name)).toEqual(['Best IT Asia Pacific', 'Best IT Europe'])
    expect(gateway.stdout).toContain('It serves the embedded database (pglite:.data/pglite).\n')
    expect(warningsOf(gateway)).toEqual([])
  })

  it('keeps what was changed until the next start, and is not seeded twice', async () => {
    const cwd = await gateways.folder()
    const first = await gateways.serve({ cwd })
    const execute = executeAt(first.url)
    await resultOf(execute('mutation { removeContact(input: { id: 66 }) { __typename } }'))
    await resultOf(
      execute(
        'mutation { updateContact(input: { id: 65, change: { email: { value: "new@best-it.com" } } }) { __typename } }',
      ),
    )
    await resultOf(execute('mutation { createOrganization(input: { name: "Another" }) { __typename } }'))
    await first.gateway.stop()

    const second = await gateways.serve({ cwd })
    const { organizations, organization } = await dataOf(executeAt(second.url)(readOrganizations))

    expect(organizations.totalCount).toBe(7)
    expect(rowsOf(organization.contacts.nodes)).toEqual(
      bestIt.filter(([id]) => id !== 66).map((row) => (row[0] === 65 ? [65, 'GENERAL', 'new@best-it.com'] : row)),
    )
  })

  it('refuses a second process on its folder, however that names it', async () => {
    const cwd = await gateways.folder()
    const { gateway, url } = await gateways.serve({ cwd, env: { DATABASE_URL: 'pglite:data' } })
    await symlink('data', join(cwd, 'link'))
    const spellings = ['data', './data', 'data/', 'link', 'other/../data', join(cwd, 'data')]

    const refusals = await Promise.all(
      spellings.map(async (folder) => {
        const second = await gateways.start([], { cwd, env: { DATABASE_URL: `pglite:${folder}` } })
        await expect(second.ready(), folder).rejects.toThrow()
        return { ...(await second.exited), stderr: second.stderr }
      }),
    )

    expect(refusals).toEqual(
      spellings.map(() => ({
        code: 1,
        signal: null,
        stderr: expect.stringMatching(
          `^The database folder .+ is in use by process ${gateway.pid} \\(lock file .+\\)\\. Stop that process, .+\n$`,
        ),
      })),
    )
    expect((await dataOf(executeAt(url)(readOrganizations))).organizations.totalCount).toBe(6)
  })

  it('goes to one of two processes that start at once', async () => {
    const cwd = await gateways.folder()
    const both = await Promise.all([gateways.start([], { cwd }), gateways.start([], { cwd })])

    const outcomes = await Promise.all(
      both.map((gateway) => Promise.race([gateway.ready(), gateway.exited]).catch(() => gateway.exited)),
    )

    expect(outcomes.filter((outcome) => typeof outcome === 'string')).toHaveLength(1)
    expect(outcomes).toContainEqual({ code: 1, signal: null })
  })

  it('is taken over from a process that was killed, with every write that was acknowledged', async () => {
    const cwd = await gateways.folder()
    const first = await gateways.serve({ cwd })
    const acknowledged: string[] = []
    let isAlive = true
    const write = async () => {
      while (isAlive) {
        const { contact } = await resultOf(executeAt(first.url)(addContact('kept@best-it.com')))
        acknowledged.push(contact.id)
      }
    }
    const writers = Promise.allSettled([write(), write(), write(), write()])
    await vi.waitUntil(() => acknowledged.length >= 50, { timeout: 60_000 })

    first.gateway.signal('SIGKILL')
    await first.gateway.exited
    isAlive = false
    await writers
    const second = await gateways.serve({ cwd })
    const { nodes } = await dataOf(
      executeAt(second.url)('query($ids: [ID!]!) { nodes(ids: $ids) { id } }', { ids: acknowledged.slice(-100) }),
    )

    expect(nodes.map(({ id }: { id: string }) => id)).toEqual(acknowledged.slice(-100))
  })
})

describe('trusted documents', () => {
  const read = 'query Read { organization(id: 1) { name } }'

  async function folderOf(files: Record<string, string>) {
    const cwd = await gateways.folder()
    const folder = join(cwd, 'documents')
    await mkdir(folder)
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
    return { cwd, env: { DATABASE_URL: 'pglite:memory', PERSISTED_DOCUMENTS: 'documents' } }
  }
  const post = async (url: string, body: object, headers: Record<string, string> = {}) => {
    const init = { method: 'POST', headers: { 'content-type': 'application/json', ...headers } }
    return (await fetch(url, { ...init, body: JSON.stringify(body) })).json()
  }

  it('are executed by their ids, alone where that is wanted, and counted by client', async () => {
    const operations = [{ id: 'apollo', name: 'Read', type: 'query', body: read }]
    const { cwd, env } = await folderOf({
      'persisted-documents.json': JSON.stringify({ codegen: read }),
      'apollo.json': JSON.stringify({ format: 'apollo-persisted-query-manifest', version: 1, operations }),
      'read.graphql': `${read}\n`,
      'notes.txt': 'This is about something else.',
    })
    const { gateway, url } = await gateways.serve({ cwd, env: { ...env, PERSISTED_ONLY: 'on', METRICS_PORT: '0' } })
    const asked = ['codegen', 'apollo', `sha256:${createHash('sha256').update(`${read}\n`).digest('hex')}`]

    const answers = await Promise.all(
      asked.map((documentId) => post(url, { documentId }, { 'apollographql-client-name': 'web' })),
    )
    const refused = await post(url, { query: read }, { 'x-graphql-client-name': 'stranger' })

    expect(answers).toEqual(asked.map(() => ({ data: { organization: { name: 'Best IT' } } })))
    expect(refused).toMatchObject({ errors: [{ extensions: { code: 'PERSISTED_QUERY_ID_REQUIRED' } }] })
    expect(gateway.stdout).not.toContain('"query"')
    const [, metricsUrl] = await gateway.printed(/metrics at (\S+)\.\n/)
    await vi.waitFor(async () => {
      const metrics = await (await fetch(metricsUrl!)).text()
      expect(metrics.match(/^gateway_client_operations_total.*$/gm)?.toSorted()).toEqual([
        'gateway_client_operations_total{client="stranger",operation="anonymous",outcome="refused"} 1',
        'gateway_client_operations_total{client="web",operation="Read",outcome="ok"} 3',
      ])
    })
  })

  it('keep it from starting where any is wrong, with every fault', async () => {
    const ended = await gateways.run(
      [],
      await folderOf({
        'a.json': '{',
        'b.json': JSON.stringify({ one: read, two: '{ nothing }', three: 3 }),
        'c.graphql': '{ a',
        'd.json': JSON.stringify({ one: '{ __typename }' }),
      }),
    )

    expect(ended).toMatchObject({ code: 1, stdout: '' })
    expect(ended.stderr.split('\n')).toEqual([
      'PERSISTED_DOCUMENTS (documents) is not usable:',
      '  - a.json is no manifest: neither {"id": "document", …} nor Apollo\'s with its operations.',
      '  - b.json, id three: an id and a document must be texts.',
      '  - b.json, id two: Cannot query field "nothing" on type "Query". (1:3)',
      expect.stringMatching(/^ {2}- c\.graphql, id [\da-f]{64}: Syntax Error: Expected Name, found <EOF>\. \(1:4\)$/),
      '  - d.json, id one: The id stands for another document as well.',
      '',
    ])
  })

  it.each([
    ['nowhere.json', 'nowhere.json cannot be read (ENOENT).'],
    ['.', 'There is no document in it.'],
  ])('keep it from starting where there are none: %s', async (PERSISTED_DOCUMENTS, fault) => {
    const ended = await gateways.run([], { env: { DATABASE_URL: 'pglite:memory', PERSISTED_DOCUMENTS } })

    expect(ended).toEqual({
      code: 1,
      signal: null,
      stdout: '',
      stderr: `PERSISTED_DOCUMENTS (${PERSISTED_DOCUMENTS}) is not usable:\n  - ${fault}\n`,
    })
  })
})

describe('what keeps it from starting', () => {
  it('is a production environment that names no database', async () => {
    const ended = await gateways.run([], { env: { NODE_ENV: 'production' } })

    expect(ended).toEqual({
      code: 1,
      signal: null,
      stdout: '',
      stderr:
        'The environment is not usable:\n' +
        '  - DATABASE_URL must be given in production (NODE_ENV=production): the embedded database is no default there.\n',
    })
  })

  it('is told all at once, and without the values', async () => {
    const ended = await gateways.run(['serve'], {
      env: {
        PORT: '65536',
        DATABASE_URL: 'mysql://u:secret@127.0.0.1/x',
        DATABASE_POOL_SIZE: '0',
        DATABASE_PREPARE: 'perhaps',
        GRAPHIQL: 'maybe',
        LOG_LEVEL: 'loud',
      },
    })

    expect(ended).toMatchObject({ code: 1, stdout: '' })
    expect(ended.stderr.split('\n')).toEqual([
      'The environment is not usable:',
      '  - PORT must be an integer from 0 to 65535.',
      '  - DATABASE_URL must be postgres://USER:PASSWORD@HOST:PORT/DATABASE, pglite:FOLDER or pglite:memory.',
      '  - DATABASE_POOL_SIZE must be an integer from 1 to 1000.',
      '  - DATABASE_PREPARE must be on or off.',
      '  - GRAPHIQL must be on or off.',
      '  - LOG_LEVEL must be one of trace, debug, info, warn, error, silent.',
      '',
    ])
  })

  it('is a port that is taken', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const { port } = other.address() as AddressInfo

    const ended = await gateways
      .run([], { env: { PORT: `${port}`, DATABASE_URL: 'pglite:memory' } })
      .finally(() => other.close())

    expect(ended).toEqual({
      code: 1,
      signal: null,
      stdout: '',
      stderr: `Port ${port} of 127.0.0.1 is taken: set PORT to another one.\n`,
    })
  })

  it.each(['serve', 'migrate', 'seed'])(
    'is a PostgreSQL that cannot be reached, which %s tells without the password',
    async (command) => {
      const ended = await gateways.run([command], { env: { DATABASE_URL: 'postgres://u:secret@127.0.0.1:1/x' } })

      expect(ended).toEqual({
        code: 1,
        signal: null,
        stdout: '',
        stderr: 'The database cannot be reached (ECONNREFUSED). Check DATABASE_URL.\n',
      })
    },
  )

  it('is a password that is no text, which is not told either', async () => {
    const ended = await gateways.run([], { env: { DATABASE_URL: 'postgres://u:sec%zzret@127.0.0.1:1/x' } })

    expect(ended).toMatchObject({ code: 1, stdout: '' })
    expect(ended.stderr).toMatch(/^The environment is not usable:\n {2}- DATABASE_URL must be .+\n$/)
    expect(ended.stderr).not.toContain('sec')
  })

  const olderNode = '/usr/bin/node'
  const olderVersion = spawnSync(olderNode, ['--version']).stdout?.toString().trim().slice(1) ?? ''
  const isOlder = olderVersion !== '' && Number(olderVersion.split('.')[0]) < 24
  const tooOld = (version: string) => ({
    code: 1,
    signal: null,
    stdout: '',
    stderr: `The contacts gateway needs Node 24 or later, and this is Node ${version}: start it by an npm script (npm start), which brings its own.\n`,
  })

  it('is a Node that says that it is older', async () => {
    const disguise = 'Object.defineProperty(process.versions, "node", { value: "20.0.0" })'

    const ended = await gateways.run([], {
      nodeOptions: ['--import', `data:text/javascript,${encodeURIComponent(disguise)}`],
    })

    expect(ended).toEqual(tooOld('20.0.0'))
  })

  it.skipIf(!isOlder)('is a Node that is older', async () => {
    const ended = await gateways.run([], { node: olderNode })

    expect(ended).toEqual(tooOld(olderVersion))
  })
})

describe('SIGTERM', () => {
  const stopping = /stopping: requests in progress may end/

  it('lets requests in progress end, and then ends', async () => {
    const cwd = await gateways.folder()
    const { gateway, url } = await gateways.serve({ cwd })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    await (await beginRequest(url, '{ __typename }', { agent })).finish()
    const onKeptConnection = await beginRequest(url, readOrganizations, { agent })
    const values = Array.from({ length: 20 }, (_, n) => `${n}@best-it.com`)
    const inProgress = await Promise.all(values.map((value) => beginRequest(url, addContact(value))))
    const idle = await keptConnection(url)

    gateway.signal('SIGTERM')
    await gateway.printed(stopping)
    const signalledAt = performance.now()
    const [late] = await Promise.allSettled([fetch(url)])
    const answers = await Promise.all(inProgress.map((request) => request.finish()))
    const keptAnswer = await onKeptConnection.finish()
    await idle.closed

    expect(await gateway.exited).toEqual({ code: 0, signal: null })
    // Well before requests in progress are cut.
    expect(performance.now() - signalledAt).toBeLessThan(7_000)
    expect(late.status).toBe('rejected')
    expect(
      answers.map(({ status, headers, answer }) => [status, headers.connection, answer.data?.addContact.contact.value]),
    ).toEqual(values.map((value) => [200, 'close', value]))
    expect(keptAnswer).toMatchObject({
      status: 200,
      headers: { connection: 'close' },
      answer: { data: { organizations: { totalCount: 6 } } },
    })
    const again = await gateways.serve({ cwd })
    const { organization } = await dataOf(executeAt(again.url)(readOrganizations))
    expect(organization.contacts.nodes.map(({ value }: ContactRow) => value)).toEqual(expect.arrayContaining(values))
    expect(organization.contacts.nodes).toHaveLength(27)
  })

  it('cuts a request that does not end, after a while', async () => {
    const { gateway, url } = await gateways.serve({ env: { DATABASE_URL: 'pglite:memory' } })
    const hanging = await beginRequest(url, '{ __typename }')

    gateway.signal('SIGTERM')

    expect(await gateway.exited).toEqual({ code: 0, signal: null })
    await expect(hanging.finish()).rejects.toThrow()
  })

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('ends at once when %s follows, even when a request hangs', async (second, code) => {
    const cwd = await gateways.folder()
    const { gateway, url } = await gateways.serve({ cwd })
    await beginRequest(url, '{ __typename }')
    gateway.signal('SIGTERM')
    await gateway.printed(stopping)
    const signalledAt = performance.now()

    gateway.signal(second)

    expect(await gateway.exited).toEqual({ code, signal: null })
    expect(performance.now() - signalledAt).toBeLessThan(4_000)
    await gateways.serve({ cwd })
  })
})

describe('the command line', () => {
  it.each([
    [['--help'], 'A gateway over the contacts of organizations, by GraphQL and REST, on PostgreSQL.'],
    [['serve', '--help'], 'Serve GraphQL and REST by HTTP (the default command).'],
    [['migrate', '--help'], 'Bring the tables of DATABASE_URL up to date, as serve does when it starts.'],
    [['seed', '--help'], 'Fill the database: with the sample, or with as many plausible organizations as you say.'],
    [['schema', '--help'], 'Print the GraphQL schema, sorted, as schema.graphql has it.'],
  ])('says by %j what it does', async (args, description) => {
    const { code, stdout, stderr } = await gateways.run(args)

    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^Usage: gateway .*\n/)
    // Lines are wrapped to the width of a terminal.
    expect(stdout.replace(/\s+/g, ' ')).toContain(description)
  })

  it.each([[['bogus']], [['--bogus']], [['serve', '--bogus']], [['migrate', 'bogus']], [['seed', '--bogus', '3']]])(
    'refuses %j with exit code 2, and says where help is',
    async (args) => {
      const ended = await gateways.run(args)

      expect(ended).toMatchObject({ code: 2, stdout: '' })
      expect(ended.stderr).toMatch(/^error: .*bogus.*\n\(--help tells more\)\n$/)
    },
  )

  it('prints the schema as schema.graphql has it', async () => {
    const ended = await gateways.run(['schema'])

    const committed = readFileSync(fileURLToPath(new URL('../../schema.graphql', import.meta.url)), 'utf8')
    expect(ended).toEqual({ code: 0, signal: null, stdout: committed, stderr: '' })
  })
})

describe('seed', () => {
  const seed = (cwd: string, ...args: string[]) =>
    gateways.run(['seed', ...args], { cwd, env: { DATABASE_URL: `pglite:${join(cwd, 'seeded')}` } })

  it('adds the sample once, however often it runs', async () => {
    const cwd = await gateways.folder()

    const runs = [await seed(cwd), await seed(cwd)]

    expect(runs).toEqual([
      { code: 0, signal: null, stdout: 'The sample is there: 6 organizations and 18 contacts were new.\n', stderr: '' },
      { code: 0, signal: null, stdout: 'The sample is there: 0 organizations and 0 contacts were new.\n', stderr: '' },
    ])
  })

  it('adds as many organizations as it is told, and says how far it is', async () => {
    const cwd = await gateways.folder()

    const ended = await seed(cwd, '--organizations', '60', '--contacts', '7')

    expect(ended).toMatchObject({ code: 0, signal: null })
    expect(ended.stdout).toMatch(/^60 organizations and 420 contacts were added, \d+ rows a second\.\n$/)
    // It tells how far it is only where that takes a while.
    expect(ended.stderr).toMatch(/^(\d+ of 480 rows \(\d+ %\), \d+ a second, \d+ s left\n)*$/)
  })

  it.each([
    ['--organizations', '0', '1 to 10000000'],
    ['--organizations', '10000001', '1 to 10000000'],
    ['--organizations', 'many', '1 to 10000000'],
    ['--contacts', '-1', '0 to 1000'],
    ['--contacts', '1001', '0 to 1000'],
  ])('refuses %s %s with the limits, and touches nothing', async (option, value, limits) => {
    const cwd = await gateways.folder()

    const ended = await seed(cwd, option, value)

    expect(ended).toMatchObject({ code: 2, stdout: '' })
    expect(ended.stderr).toContain(`It must be an integer from ${limits}.`)
    expect(existsSync(join(cwd, 'seeded'))).toBe(false)
  })
})
