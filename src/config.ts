/** Everything that can be set from outside. `.env.example` explains each variable. */
export interface Config {
  host: string
  port: number
  databaseUrl: string
  databasePoolSize: number
  databasePrepare: boolean
  graphiql: boolean
  logLevel: LogLevel
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
  const integer = (name: string, fallback: number, min: number, max: number) =>
    read(
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
  const config: Config = {
    host: read('HOST', '127.0.0.1', (text) => text, 'an address to listen on'),
    port: integer('PORT', 4000, 0, 65_535),
    databaseUrl: read('DATABASE_URL', defaultDatabase, parseDatabaseUrl, databaseUrlForms),
    databasePoolSize: integer('DATABASE_POOL_SIZE', 10, 1, 1000),
    databasePrepare: onOff('DATABASE_PREPARE', true),
    graphiql: onOff('GRAPHIQL', !isProduction),
    logLevel: read(
      'LOG_LEVEL',
      'info',
      (text) => logLevels.find((level) => level === text),
      `one of ${logLevels.join(', ')}`,
    ),
  }
  if (faults.length > 0) throw new ConfigError(faults)
  return config
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
