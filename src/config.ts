import { createPublicKey } from 'node:crypto'
import { availableParallelism } from 'node:os'

/** Everything that can be set from outside. `.env.example` explains each variable. */
export interface Config {
  host: string
  port: number
  /** Processes that serve. */
  workers: number
  databaseUrl: string
  databasePoolSize: number
  databasePrepare: boolean
  graphiql: boolean
  introspection: boolean
  /** Whether it serves as a subgraph of Federation 2. */
  federation: boolean
  /** The file or folder of the documents that are trusted; undefined where there are none. */
  persistedDocuments: string | undefined
  /** Whether nothing but them is executed. */
  persistedOnly: boolean
  /** Whether callers may send the hash of a document that they have sent before. */
  persistedAutomatic: boolean
  logLevel: LogLevel
  auth: AuthConfig
  limits: LimitsConfig
  /** Streams of a process at the same time, at most. */
  maxStreams: number
  /** Undefined where callers are not counted. */
  rateLimit: RateLimitConfig | undefined
  corsOrigins: readonly string[]
  /** Where callers believe to be, behind a proxy; undefined where their Host header says so. */
  publicOrigin: string | undefined
  deadlines: DeadlinesConfig
  overload: OverloadConfig
  /** Statements that take longer are logged by their name. */
  slowStatementMs: number
  /** Where Prometheus asks; undefined where there are no metrics. */
  metricsPort: number | undefined
  /** Where traces are sent to; undefined where there are none. */
  tracesUrl: URL | undefined
}

/** How long things may take, in milliseconds. */
export interface DeadlinesConfig {
  connectionMs: number
  statementMs: number
  requestMs: number
}

export interface OverloadConfig {
  /** Requests in progress at most. */
  requests: number
  /** By how many milliseconds the event loop may be late. */
  eventLoopDelayMs: number
}

export type AuthConfig =
  | { kind: 'none' }
  | { kind: 'token' }
  | {
      kind: 'jwt'
      keys: { jwksUrl: URL } | { publicKey: string }
      issuer: string
      audience: string
      clockToleranceSeconds: number
      accountClaim: string
      permissionsClaim: string
    }

export interface LimitsConfig {
  bodyBytes: number
  tokens: number
  depth: number
  aliases: number
  rootFields: number
  directives: number
  listItems: number
  nodes: number
  connections: number
}

export interface RateLimitConfig {
  requests: number
  nodes: number
  concurrent: number
  streams: number
  isShared: boolean
}

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const
type LogLevel = (typeof logLevels)[number]

/** All that is wrong with the environment, at once. Values are never repeated: they may be secrets. */
export class ConfigError extends Error {
  constructor(faults: readonly string[]) {
    super(['The environment is not usable:', ...faults.map((fault) => `  - ${fault}`)].join('\n'))
    this.name = 'ConfigError'
  }
}

/** Reads the configuration from environment variables, or throws a ConfigError that names every fault. */
export function readConfig(env: NodeJS.ProcessEnv): Config {
  const faults: string[] = []
  const isProduction = env.NODE_ENV === 'production'
  /** An empty variable is one that is not set. */
  const read = <Value>(name: string, fallback: Value, parse: (text: string) => Value | undefined, expected: string) => {
    const text = env[name]?.trim()
    if (!text) return fallback
    const value = parse(text)
    if (value !== undefined) return value
    faults.push(`${name} must be ${expected}.`)
    return fallback
  }
  const integer = <Fallback>(name: string, fallback: Fallback, min: number, max: number) =>
    read<number | Fallback>(
      name,
      fallback,
      (text) => (/^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max ? Number(text) : undefined),
      `an integer from ${min} to ${max}`,
    )
  const onOff = (name: string, fallback: boolean) =>
    read(name, fallback, (text) => switches.get(text.toLowerCase()), 'on or off')

  if (isProduction && !env.DATABASE_URL?.trim()) {
    faults.push(
      'DATABASE_URL must be given in production (NODE_ENV=production): the embedded database is no default there.',
    )
  }
  const text = (name: string, fallback: string) => read(name, fallback, (given) => given, 'a text')
  const host = text('HOST', '127.0.0.1')
  const isLocal = loopback.test(host)

  const kind = read(
    'AUTH',
    'none' as const,
    (given) => authKinds.find((known) => known === given),
    `one of ${authKinds.join(', ')}`,
  )
  if (kind === 'none' && !isLocal) {
    faults.push(
      'AUTH must be token or jwt where HOST is not a loopback address: with none, anybody may read and write.',
    )
  }
  const readJwt = (): AuthConfig => {
    const jwksUrl = read('JWT_JWKS_URL', undefined, parseHttpUrl, 'an http or https URL')
    const publicKey = read('JWT_PUBLIC_KEY', undefined, parsePublicKey, 'a public key as PEM')
    if (!env.JWT_JWKS_URL?.trim() === !env.JWT_PUBLIC_KEY?.trim()) {
      faults.push('Exactly one of JWT_JWKS_URL and JWT_PUBLIC_KEY must be given with AUTH=jwt.')
    }
    for (const name of ['JWT_ISSUER', 'JWT_AUDIENCE']) {
      if (!env[name]?.trim()) faults.push(`${name} must be given with AUTH=jwt.`)
    }
    return {
      kind: 'jwt',
      keys: jwksUrl ? { jwksUrl } : { publicKey: publicKey ?? '' },
      issuer: text('JWT_ISSUER', ''),
      audience: text('JWT_AUDIENCE', ''),
      clockToleranceSeconds: integer('JWT_CLOCK_TOLERANCE', 30, 0, 600),
      accountClaim: text('JWT_ACCOUNT_CLAIM', 'account'),
      permissionsClaim: text('JWT_PERMISSIONS_CLAIM', 'permissions'),
    }
  }
  const rateLimit: RateLimitConfig = {
    requests: integer('RATE_LIMIT_REQUESTS', 1200, 1, 999_999_999),
    nodes: integer('RATE_LIMIT_NODES', 500_000, 1, 999_999_999),
    concurrent: integer('RATE_LIMIT_CONCURRENT', 20, 1, 100_000),
    streams: integer('RATE_LIMIT_STREAMS', 100, 1, 1_000_000),
    isShared:
      read(
        'RATE_LIMIT_STORE',
        'memory',
        (given) => ['memory', 'postgres'].find((known) => known === given),
        'memory or postgres',
      ) === 'postgres',
  }

  const port = integer('PORT', 4000, 0, 65_535)
  const databaseUrl = read('DATABASE_URL', defaultDatabase, parseDatabaseUrl, databaseUrlForms)
  const isEmbedded = databaseUrl.startsWith('pglite:')
  const workers = read(
    'WORKERS',
    1,
    (given) => (given === 'auto' ? workersFor(isEmbedded) : parseWorkers(given)),
    `an integer from 1 to ${maxWorkers}, or auto`,
  )
  if (workers > 1 && isEmbedded && !faults.some((fault) => fault.startsWith('DATABASE_URL'))) {
    faults.push(
      'WORKERS must be 1 where DATABASE_URL is an embedded database (pglite:), which one process has for itself.',
    )
  }

  const persistedOnly = onOff('PERSISTED_ONLY', false)

  const config: Config = {
    host,
    port,
    workers,
    databaseUrl,
    databasePoolSize: integer('DATABASE_POOL_SIZE', 10, 1, 1000),
    databasePrepare: onOff('DATABASE_PREPARE', true),
    graphiql: onOff('GRAPHIQL', !isProduction && isLocal && !persistedOnly),
    introspection: onOff('INTROSPECTION', !persistedOnly),
    federation: onOff('FEDERATION', false),
    persistedDocuments: env.PERSISTED_DOCUMENTS?.trim() || undefined,
    persistedOnly,
    persistedAutomatic: onOff('PERSISTED_AUTOMATIC', !persistedOnly),
    logLevel: read(
      'LOG_LEVEL',
      'info',
      (text) => logLevels.find((level) => level === text),
      `one of ${logLevels.join(', ')}`,
    ),
    auth: kind === 'jwt' ? readJwt() : { kind },
    limits: {
      bodyBytes: integer('MAX_BODY_BYTES', 256 * 1024, 1024, 64 * 1024 * 1024),
      tokens: integer('MAX_DOCUMENT_TOKENS', 2000, 1, 100_000),
      depth: integer('MAX_DOCUMENT_DEPTH', 12, 1, 1000),
      aliases: integer('MAX_DOCUMENT_ALIASES', 30, 0, 100_000),
      rootFields: integer('MAX_ROOT_FIELDS', 20, 1, 100_000),
      directives: integer('MAX_DOCUMENT_DIRECTIVES', 20, 0, 100_000),
      listItems: integer('MAX_LIST_ITEMS', 250, 1, 100_000),
      nodes: integer('MAX_NODES', 50_000, 1, 100_000_000),
      connections: integer('MAX_CONNECTIONS', 10_000, 1, 1_000_000),
    },
    maxStreams: integer('MAX_STREAMS', 8000, 0, 1_000_000),
    publicOrigin: read('PUBLIC_URL', undefined, parseOrigin, 'an origin such as https://api.example'),
    deadlines: {
      connectionMs: integer('DATABASE_WAIT_TIMEOUT', 2000, 10, 600_000),
      statementMs: integer('STATEMENT_TIMEOUT', 5000, 10, 600_000),
      requestMs: integer('REQUEST_TIMEOUT', 10_000, 10, 600_000),
    },
    overload: {
      requests: integer('MAX_REQUESTS', 256, 1, 100_000),
      eventLoopDelayMs: integer('MAX_EVENT_LOOP_DELAY', 500, 10, 60_000),
    },
    slowStatementMs: integer('SLOW_STATEMENT', 500, 0, 600_000),
    metricsPort: integer('METRICS_PORT', undefined, 0, 65_535),
    tracesUrl: read('OTEL_EXPORTER_OTLP_ENDPOINT', undefined, parseHttpUrl, 'an http or https URL'),
    rateLimit: onOff('RATE_LIMIT', !isLocal) ? rateLimit : undefined,
    corsOrigins: read(
      'CORS_ORIGINS',
      [] as string[],
      parseOrigins,
      'origins such as https://app.example, separated by commas',
    ),
  }
  if (persistedOnly) faults.push(...faultsOfPersistedOnly(config))
  if (faults.length > 0) throw new ConfigError(faults)
  return config
}

/** What would contradict that nothing but trusted documents is executed. */
function* faultsOfPersistedOnly({
  persistedDocuments,
  persistedAutomatic,
  graphiql,
  federation,
}: Config): Iterable<string> {
  if (!persistedDocuments) yield 'PERSISTED_DOCUMENTS must be given with PERSISTED_ONLY=on: nothing could be executed.'
  if (federation) yield 'FEDERATION must be off with PERSISTED_ONLY=on: gateways send documents of their own.'
  if (persistedAutomatic) {
    yield 'PERSISTED_AUTOMATIC must be off with PERSISTED_ONLY=on: callers would add documents of their own.'
  }
  if (graphiql) yield 'GRAPHIQL must be off with PERSISTED_ONLY=on: it sends documents of its own.'
}

const maxWorkers = 64

/** As many as there are CPUs. */
const workersFor = (isEmbedded: boolean) => (isEmbedded ? 1 : Math.min(availableParallelism(), maxWorkers))

const parseWorkers = (text: string) =>
  /^\d{1,2}$/.test(text) && Number(text) >= 1 && Number(text) <= maxWorkers ? Number(text) : undefined

const authKinds = ['none', 'token', 'jwt'] as const

const loopback = /^(127(\.\d{1,3}){3}|localhost|::1)$/

function parseHttpUrl(text: string): URL | undefined {
  const url = URL.parse(text)
  return url && /^https?:$/.test(url.protocol) ? url : undefined
}

function parsePublicKey(text: string): string | undefined {
  // In an environment file a key stands on one line.
  const pem = text.replaceAll('\\n', '\n')
  try {
    return createPublicKey(pem).type === 'public' && !pem.includes('PRIVATE') ? pem : undefined
  } catch {
    return undefined
  }
}

function parseOrigin(text: string): string | undefined {
  const origin = parseHttpUrl(text)?.origin
  return origin === text.replace(/\/$/, '') ? origin : undefined
}

function parseOrigins(text: string): string[] | undefined {
  const origins = text.split(/[\s,]+/).filter(Boolean)
  return origins.every((origin) => parseHttpUrl(origin)?.origin === origin) ? origins : undefined
}

export const defaultDatabase = 'pglite:.data/pglite'

const databaseUrlForms = 'postgres://USER:PASSWORD@HOST:PORT/DATABASE, pglite:FOLDER or pglite:memory'

const switches = new Map(Object.entries({ on: true, true: true, 1: true, off: false, false: false, 0: false }))

function parseDatabaseUrl(text: string): string | undefined {
  if (text === 'pglite:memory') return text
  if (text.startsWith('pglite:')) {
    const folder = text.slice('pglite:'.length)
    return folder && !folder.startsWith('//') ? text : undefined
  }
  return /^postgres(ql)?:\/\/./.test(text) && URL.canParse(text) && isDecodable(text) ? text : undefined
}

/** The driver decodes user name, password and database: a percent sign of theirs must be written %25. */
function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}
