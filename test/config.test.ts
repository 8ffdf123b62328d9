import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { describe, expect, it } from 'vitest'
import { type Config, ConfigError, defaultDatabase, readConfig } from '../src/config.ts'

const defaults: Config = {
  host: '127.0.0.1',
  port: 4000,
  workers: 1,
  databaseUrl: 'pglite:.data/pglite',
  databasePoolSize: 10,
  databasePrepare: true,
  graphiql: true,
  introspection: true,
  persistedDocuments: undefined,
  persistedOnly: false,
  persistedAutomatic: true,
  federation: false,
  logLevel: 'info',
  auth: { kind: 'none' },
  limits: {
    bodyBytes: 262_144,
    tokens: 2000,
    depth: 12,
    aliases: 30,
    rootFields: 20,
    directives: 20,
    listItems: 250,
    nodes: 50_000,
    connections: 10_000,
  },
  maxStreams: 8000,
  rateLimit: undefined,
  corsOrigins: [],
  publicOrigin: undefined,
  deadlines: { connectionMs: 2000, statementMs: 5000, requestMs: 10_000 },
  overload: { requests: 256, eventLoopDelayMs: 500 },
  slowStatementMs: 500,
  metricsPort: undefined,
  tracesUrl: undefined,
}

const expectedDatabaseUrl = 'postgres://USER:PASSWORD@HOST:PORT/DATABASE, pglite:FOLDER or pglite:memory'
const neededDatabaseUrl =
  'DATABASE_URL must be given in production (NODE_ENV=production): the embedded database is no default there.'

/** The faults that a ConfigError names, in its order. */
function faultsOf(env: NodeJS.ProcessEnv): string[] {
  try {
    readConfig(env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const [title, ...faults] = error.message.split('\n')
    expect(title).toBe('The environment is not usable:')
    return faults.map((fault) => fault.replace(/^ {2}- /, ''))
  }
  return []
}

describe('readConfig', () => {
  it('has a default for everything', () => {
    expect(readConfig({})).toEqual(defaults)
    expect(defaultDatabase).toBe(defaults.databaseUrl)
  })

  it('takes an empty variable for one that is not set', () => {
    const env = {
      HOST: '',
      PORT: ' ',
      DATABASE_URL: '\t',
      DATABASE_POOL_SIZE: '',
      DATABASE_PREPARE: '  ',
      LOG_LEVEL: '',
    }

    expect(readConfig({ ...env, GRAPHIQL: '', NODE_ENV: '' })).toEqual(defaults)
  })

  it('shows GraphiQL by default on a loopback address alone', () => {
    expect(readConfig({ HOST: '0.0.0.0', AUTH: 'token' }).graphiql).toBe(false)
    expect(readConfig({ HOST: '0.0.0.0', AUTH: 'token', GRAPHIQL: 'on' }).graphiql).toBe(true)
    expect(readConfig({ HOST: '127.0.0.1', AUTH: 'token' }).graphiql).toBe(true)
  })

  it('refuses to serve without authentication beyond a loopback address', () => {
    expect(faultsOf({ HOST: '0.0.0.0' })).toEqual([
      'AUTH must be token or jwt where HOST is not a loopback address: with none, anybody may read and write.',
    ])
  })

  it('takes no notice of other variables', () => {
    expect(readConfig({ PATH: '/usr/bin', port: '1', GRAPHQL: 'x' })).toEqual(defaults)
  })

  it.each<[string, string, Partial<Config>]>([
    ['HOST', '127.0.0.2', { host: '127.0.0.2' }],
    ['HOST', '::1', { host: '::1' }],
    ['HOST', ' localhost ', { host: 'localhost' }],
    ['PUBLIC_URL', 'https://api.example', { publicOrigin: 'https://api.example' }],
    ['PUBLIC_URL', 'https://api.example:8443/', { publicOrigin: 'https://api.example:8443' }],
    [
      'CORS_ORIGINS',
      'https://a.example, http://b.example:81',
      { corsOrigins: ['https://a.example', 'http://b.example:81'] },
    ],
    ['PORT', '0', { port: 0 }],
    ['PORT', '1', { port: 1 }],
    ['PORT', '65535', { port: 65_535 }],
    ['PORT', ' 8080\n', { port: 8080 }],
    ['WORKERS', '1', { workers: 1 }],
    // Nobody shares the embedded database.
    ['WORKERS', 'auto', { workers: 1 }],
    ['DATABASE_URL', 'pglite:memory', { databaseUrl: 'pglite:memory' }],
    ['DATABASE_URL', 'pglite:data', { databaseUrl: 'pglite:data' }],
    ['DATABASE_URL', 'pglite:/var/lib/gateway', { databaseUrl: 'pglite:/var/lib/gateway' }],
    ['DATABASE_URL', 'pglite:./a folder', { databaseUrl: 'pglite:./a folder' }],
    ['DATABASE_URL', 'postgres://localhost', { databaseUrl: 'postgres://localhost' }],
    ['DATABASE_URL', 'postgres://u:p@db:5432/x', { databaseUrl: 'postgres://u:p@db:5432/x' }],
    ['DATABASE_URL', 'postgresql://u:p@db/x?sslmode=require', { databaseUrl: 'postgresql://u:p@db/x?sslmode=require' }],
    ['DATABASE_URL', '  postgres://db/x ', { databaseUrl: 'postgres://db/x' }],
    ['DATABASE_POOL_SIZE', '1', { databasePoolSize: 1 }],
    ['DATABASE_POOL_SIZE', '1000', { databasePoolSize: 1000 }],
    ['DATABASE_PREPARE', 'off', { databasePrepare: false }],
    ['DATABASE_PREPARE', 'OFF', { databasePrepare: false }],
    ['DATABASE_PREPARE', 'false', { databasePrepare: false }],
    ['DATABASE_PREPARE', '0', { databasePrepare: false }],
    ['DATABASE_PREPARE', 'on', { databasePrepare: true }],
    ['DATABASE_PREPARE', 'True', { databasePrepare: true }],
    ['DATABASE_PREPARE', '1', { databasePrepare: true }],
    ['GRAPHIQL', 'off', { graphiql: false }],
    ['GRAPHIQL', 'on', { graphiql: true }],
    ['PERSISTED_DOCUMENTS', ' ./persisted-documents.json ', { persistedDocuments: './persisted-documents.json' }],
    ['PERSISTED_ONLY', 'off', { persistedOnly: false }],
    ['PERSISTED_AUTOMATIC', 'off', { persistedAutomatic: false }],
    ['DATABASE_WAIT_TIMEOUT', '10', { deadlines: { ...defaults.deadlines, connectionMs: 10 } }],
    ['STATEMENT_TIMEOUT', '600000', { deadlines: { ...defaults.deadlines, statementMs: 600_000 } }],
    ['REQUEST_TIMEOUT', '30000', { deadlines: { ...defaults.deadlines, requestMs: 30_000 } }],
    ['MAX_REQUESTS', '1', { overload: { ...defaults.overload, requests: 1 } }],
    ['MAX_EVENT_LOOP_DELAY', '100', { overload: { ...defaults.overload, eventLoopDelayMs: 100 } }],
    ['SLOW_STATEMENT', '0', { slowStatementMs: 0 }],
    ['METRICS_PORT', '9464', { metricsPort: 9464 }],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'http://127.0.0.1:4318', { tracesUrl: new URL('http://127.0.0.1:4318') }],
    ['LOG_LEVEL', 'trace', { logLevel: 'trace' }],
    ['LOG_LEVEL', 'debug', { logLevel: 'debug' }],
    ['LOG_LEVEL', 'warn', { logLevel: 'warn' }],
    ['LOG_LEVEL', 'error', { logLevel: 'error' }],
    ['LOG_LEVEL', 'silent', { logLevel: 'silent' }],
  ])('reads %s=%j', (name, value, expected) => {
    expect(readConfig({ [name]: value })).toEqual({ ...defaults, ...expected })
  })

  it.each([
    ['PORT', '65536', 'an integer from 0 to 65535'],
    ['PORT', '-1', 'an integer from 0 to 65535'],
    ['PORT', '4000.0', 'an integer from 0 to 65535'],
    ['PORT', '4e3', 'an integer from 0 to 65535'],
    ['PORT', '0x10', 'an integer from 0 to 65535'],
    ['PORT', '+80', 'an integer from 0 to 65535'],
    ['PORT', '٨٠', 'an integer from 0 to 65535'],
    ['PORT', 'http', 'an integer from 0 to 65535'],
    ['PORT', '9'.repeat(400), 'an integer from 0 to 65535'],
    ['WORKERS', '0', 'an integer from 1 to 64, or auto'],
    ['WORKERS', '65', 'an integer from 1 to 64, or auto'],
    ['WORKERS', '2.0', 'an integer from 1 to 64, or auto'],
    ['WORKERS', 'all', 'an integer from 1 to 64, or auto'],
    ['DATABASE_POOL_SIZE', '0', 'an integer from 1 to 1000'],
    ['DATABASE_POOL_SIZE', '1001', 'an integer from 1 to 1000'],
    ['DATABASE_POOL_SIZE', 'many', 'an integer from 1 to 1000'],
    ['DATABASE_URL', 'mysql://db/x', expectedDatabaseUrl],
    ['DATABASE_URL', 'postgres:', expectedDatabaseUrl],
    ['DATABASE_URL', 'postgres://', expectedDatabaseUrl],
    ['DATABASE_URL', 'postgres://db:99999/x', expectedDatabaseUrl],
    ['DATABASE_URL', 'postgres.example.com', expectedDatabaseUrl],
    ['DATABASE_URL', 'pglite', expectedDatabaseUrl],
    ['DATABASE_URL', 'pglite:', expectedDatabaseUrl],
    ['DATABASE_URL', 'pglite://data', expectedDatabaseUrl],
    ['DATABASE_PREPARE', 'maybe', 'on or off'],
    ['DATABASE_PREPARE', '2', 'on or off'],
    ['DATABASE_WAIT_TIMEOUT', '9', 'an integer from 10 to 600000'],
    ['STATEMENT_TIMEOUT', '5s', 'an integer from 10 to 600000'],
    ['REQUEST_TIMEOUT', '600001', 'an integer from 10 to 600000'],
    ['MAX_REQUESTS', '0', 'an integer from 1 to 100000'],
    ['MAX_EVENT_LOOP_DELAY', '-1', 'an integer from 10 to 60000'],
    ['SLOW_STATEMENT', '-1', 'an integer from 0 to 600000'],
    ['METRICS_PORT', '65536', 'an integer from 0 to 65535'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector:4318', 'an http or https URL'],
    ['GRAPHIQL', 'yes', 'on or off'],
    ['GRAPHIQL', 'constructor', 'on or off'],
    ['GRAPHIQL', '__proto__', 'on or off'],
    ['PERSISTED_ONLY', 'yes', 'on or off'],
    ['PERSISTED_AUTOMATIC', 'always', 'on or off'],
    ['LOG_LEVEL', 'verbose', 'one of trace, debug, info, warn, error, silent'],
    ['LOG_LEVEL', 'INFO', 'one of trace, debug, info, warn, error, silent'],
    ['LOG_LEVEL', 'constructor', 'one of trace, debug, info, warn, error, silent'],
  ])('refuses %s=%j', (name, value, expected) => {
    expect(faultsOf({ [name]: value })).toEqual([`${name} must be ${expected}.`])
  })

  const PERSISTED_DOCUMENTS = 'documents'

  it('takes for off by default what trusted documents alone exclude', () => {
    const { graphiql, introspection, persistedAutomatic } = readConfig({ PERSISTED_ONLY: 'on', PERSISTED_DOCUMENTS })

    expect({ graphiql, introspection, persistedAutomatic }).toEqual({
      graphiql: false,
      introspection: false,
      persistedAutomatic: false,
    })
    expect(readConfig({ PERSISTED_ONLY: 'on', PERSISTED_DOCUMENTS, INTROSPECTION: 'on' }).introspection).toBe(true)
  })

  it('refuses what contradicts that trusted documents alone are executed', () => {
    const contradictions = ['PERSISTED_AUTOMATIC', 'GRAPHIQL', 'FEDERATION'].map((name) => [name, 'on'])
    const faults = faultsOf({ PERSISTED_ONLY: 'on', ...Object.fromEntries(contradictions) })

    expect(faults.toSorted()).toEqual([
      'FEDERATION must be off with PERSISTED_ONLY=on: gateways send documents of their own.',
      'GRAPHIQL must be off with PERSISTED_ONLY=on: it sends documents of its own.',
      'PERSISTED_AUTOMATIC must be off with PERSISTED_ONLY=on: callers would add documents of their own.',
      'PERSISTED_DOCUMENTS must be given with PERSISTED_ONLY=on: nothing could be executed.',
    ])
  })

  const DATABASE_URL = 'postgres://db/x'

  it.each([
    ['2', 2],
    ['64', 64],
    ['auto', Math.min(availableParallelism(), 64)],
  ])('serves PostgreSQL by as many processes as it is told: WORKERS=%s', (WORKERS, workers) => {
    expect(readConfig({ WORKERS, DATABASE_URL }).workers).toBe(workers)
  })

  it.each([undefined, 'pglite:memory', 'pglite:data'])('refuses to share DATABASE_URL=%s by processes', (url) => {
    expect(faultsOf({ WORKERS: '2', DATABASE_URL: url })).toEqual([
      'WORKERS must be 1 where DATABASE_URL is an embedded database (pglite:), which one process has for itself.',
    ])
  })

  it('says nothing of sharing a database that is not usable anyway', () => {
    expect(faultsOf({ WORKERS: '2', DATABASE_URL: 'x' })).toEqual([`DATABASE_URL must be ${expectedDatabaseUrl}.`])
    expect(faultsOf({ WORKERS: '2', NODE_ENV: 'production' })).toEqual([neededDatabaseUrl])
  })

  it('names every fault at once', () => {
    const faults = faultsOf({
      NODE_ENV: 'production',
      PORT: 'x',
      DATABASE_URL: '',
      DATABASE_POOL_SIZE: 'x',
      DATABASE_PREPARE: 'x',
      GRAPHIQL: 'x',
      LOG_LEVEL: 'x',
    })

    expect(faults).toEqual([
      neededDatabaseUrl,
      'PORT must be an integer from 0 to 65535.',
      'DATABASE_POOL_SIZE must be an integer from 1 to 1000.',
      'DATABASE_PREPARE must be on or off.',
      'GRAPHIQL must be on or off.',
      'LOG_LEVEL must be one of trace, debug, info, warn, error, silent.',
    ])
  })

  it('never repeats a value, which may be a secret', () => {
    const secret = 'hunter2'
    const env = Object.fromEntries(
      ['PORT', 'DATABASE_URL', 'DATABASE_POOL_SIZE', 'DATABASE_PREPARE', 'GRAPHIQL', 'LOG_LEVEL'].map((name) => [
        name,
        `mysql://user:${secret}@host`,
      ]),
    )

    const read = () => readConfig(env)

    expect(read).toThrow(ConfigError)
    expect(read).not.toThrow(secret)
    expect(faultsOf(env)).toHaveLength(6)
  })

  it.each([undefined, '', ' '])('needs a database in production: DATABASE_URL=%j', (url) => {
    expect(faultsOf({ NODE_ENV: 'production', DATABASE_URL: url })).toEqual([neededDatabaseUrl])
  })

  it.each(['postgres://db/x', 'pglite:memory', 'pglite:data'])('takes any that is given in production: %s', (url) => {
    expect(readConfig({ NODE_ENV: 'production', DATABASE_URL: url }).databaseUrl).toBe(url)
  })

  it('names a wrong database in production by one fault only', () => {
    const faults = faultsOf({ NODE_ENV: 'production', DATABASE_URL: 'x' })

    expect(faults).toEqual([`DATABASE_URL must be ${expectedDatabaseUrl}.`])
  })

  it.each([
    [undefined, true],
    ['', true],
    ['development', true],
    ['test', true],
    ['PRODUCTION', true],
    ['production', false],
  ])('serves GraphiQL by default where NODE_ENV is %j: %s', (nodeEnv, graphiql) => {
    const config = readConfig({ NODE_ENV: nodeEnv, DATABASE_URL: 'pglite:memory' })

    expect(config.graphiql).toBe(graphiql)
  })

  it.each([
    ['on', true],
    ['off', false],
  ])('serves GraphiQL as it is told in production: %s', (value, graphiql) => {
    const config = readConfig({ NODE_ENV: 'production', DATABASE_URL: 'pglite:memory', GRAPHIQL: value })

    expect(config.graphiql).toBe(graphiql)
  })
})

describe('.env.example', () => {
  const lines = readFileSync(new URL('../.env.example', import.meta.url), 'utf8').split('\n')
  const documented = Object.fromEntries(
    lines.filter((line) => /^[A-Z_]+=/.test(line)).map((line) => line.split(/=(.*)/s, 2) as [string, string]),
  )
  /** Not a setting of the gateway: the convention of all of Node. */
  const conventional = 'NODE_ENV'

  it('names every variable that is read, and no other', () => {
    const read = new Set<string | symbol>()
    // With JWT, since its variables are read with it alone; what it lacks is a fault, which comes after all is read.
    const everyVariable = new Proxy(
      {},
      {
        get: (_, name) => {
          read.add(name)
          return name === 'AUTH' ? 'jwt' : undefined
        },
      },
    )
    expect(() => readConfig(everyVariable)).toThrow(ConfigError)
    read.delete(conventional)

    expect(Object.keys(documented).toSorted()).toEqual([...read].toSorted())
  })

  it('shows the defaults', () => {
    expect(readConfig(documented)).toEqual(readConfig({}))
  })

  it('shows every value, but for those that have no default', () => {
    const empty = Object.keys(documented).filter((name) => documented[name] === '')

    expect(empty).toEqual([
      'PUBLIC_URL',
      'JWT_JWKS_URL',
      'JWT_PUBLIC_KEY',
      'JWT_ISSUER',
      'JWT_AUDIENCE',
      'PERSISTED_DOCUMENTS',
      'RATE_LIMIT',
      'METRICS_PORT',
      'OTEL_EXPORTER_OTLP_ENDPOINT',
      'CORS_ORIGINS',
    ])
  })

  it('explains each variable, or the group that it stands in', () => {
    const unexplained = Object.keys(documented).filter((name) => {
      let at = lines.findIndex((line) => line.startsWith(`${name}=`)) - 1
      while (/^[A-Z_]+=/.test(lines[at]!)) at--
      return !lines[at]!.startsWith('# ')
    })

    expect(unexplained).toEqual([])
  })
})
