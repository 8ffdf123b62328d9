import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Dataset } from './dataset.ts'
import type { Dialect } from './workloads.ts'

/** A server that is compared. */
export interface Stack {
  readonly name: string
  readonly title: string
  readonly dialect: Dialect
  /** The program and its arguments, for Node. */
  readonly program: readonly string[]
  /** What it is told by its environment. */
  env(options: EnvOptions): Record<string, string>
  /** What every request carries. */
  headers?(data: Dataset): Record<string, string>
  /** The settings that it runs with, for the reader of the figures. */
  readonly settings: string
  /** Packages whose versions belong to the figures. */
  readonly packages: readonly string[]
}

export interface EnvOptions {
  data: Dataset
  port: number
  poolSize: number
}

const gateway = {
  dialect: 'gateway',
  program: [fileURLToPath(new URL('../../bin/gateway.js', import.meta.url)), 'serve'],
  packages: ['graphql-yoga', 'graphql', 'drizzle-orm', 'postgres'],
} as const

const gatewayEnv = ({ data, port, poolSize }: EnvOptions) => ({
  NODE_ENV: 'production',
  PORT: String(port),
  DATABASE_URL: data.url,
  DATABASE_POOL_SIZE: String(poolSize),
})

/** Nobody is turned away, but everybody is counted. */
const limits = {
  RATE_LIMIT: 'on',
  RATE_LIMIT_REQUESTS: '999999999',
  RATE_LIMIT_NODES: '999999999',
  RATE_LIMIT_CONCURRENT: '100000',
}

const peerEnv = ({ data, port, poolSize }: EnvOptions) => ({
  NODE_ENV: 'production',
  GRAPHILE_ENV: 'production',
  PORT: String(port),
  DATABASE_URL: data.url,
  POOL_SIZE: String(poolSize),
  ACCOUNT: String(data.account),
})

const peer = (file: string) => [fileURLToPath(new URL(`./stacks/${file}.ts`, import.meta.url))]

export const floorName = 'floor'
export const oursName = 'ours'

export const stacks: readonly Stack[] = [
  {
    name: floorName,
    title: 'floor',
    dialect: 'floor',
    program: peer('floor'),
    env: peerEnv,
    settings:
      'node:http and postgres.js, prepared statements, JSON put together by hand; no schema, no checks, no limits',
    packages: ['postgres'],
  },
  {
    ...gateway,
    name: oursName,
    title: 'ours, as shipped',
    env: (options) => ({
      ...gatewayEnv(options),
      ...limits,
      AUTH: 'token',
      LOG_LEVEL: 'info',
      METRICS_PORT: '0',
    }),
    headers: ({ token }) => ({ authorization: `Bearer ${token}` }),
    settings: 'NODE_ENV=production, token authentication, rate limits, access log to a file, metrics',
  },
  {
    ...gateway,
    name: 'ours-bare',
    title: 'ours, extras off',
    env: (options) => ({ ...gatewayEnv(options), AUTH: 'none', RATE_LIMIT: 'off', LOG_LEVEL: 'silent' }),
    settings: 'NODE_ENV=production, AUTH=none, RATE_LIMIT=off, LOG_LEVEL=silent, no metrics',
  },
  {
    name: 'mercurius',
    title: 'Mercurius',
    dialect: 'peer',
    program: peer('mercurius'),
    env: peerEnv,
    settings:
      'NODE_ENV=production, jit: 1, loaders without cache, Fastify without logger; our Drizzle statements, by the pool of postgres.js',
    packages: ['mercurius', 'graphql-jit', 'fastify', 'graphql'],
  },
  {
    name: 'apollo',
    title: 'Apollo Server',
    dialect: 'peer',
    program: peer('apollo'),
    env: peerEnv,
    settings:
      'NODE_ENV=production, behind Fastify without logger, DataLoader, no persisted queries, no reporting; our Drizzle statements, by the pool of postgres.js',
    packages: ['@apollo/server', '@as-integrations/fastify', 'fastify', 'graphql'],
  },
  {
    name: 'postgraphile',
    title: 'PostGraphile',
    dialect: 'postgraphile',
    program: peer('postgraphile'),
    env: peerEnv,
    settings:
      'NODE_ENV and GRAPHILE_ENV=production, Amber preset, no GraphiQL, no watching, no explaining; node-postgres, which prepares by name',
    packages: ['postgraphile', 'grafast', 'grafserv', '@dataplan/pg', 'pg', 'graphql'],
  },
]

/** The versions that are installed, of the packages of a stack. */
export function versionsOf({ packages, dialect, program }: Stack): Record<string, string> {
  const isOurs = program[0]!.endsWith('gateway.js')
  const folders = isOurs || dialect === 'floor' ? ['../../node_modules/'] : ['../node_modules/', '../../node_modules/']
  return Object.fromEntries(packages.map((name) => [name, versionIn(folders, name)]))
}

function versionIn(folders: readonly string[], name: string): string {
  for (const folder of folders) {
    try {
      return JSON.parse(readFileSync(new URL(`${folder}${name}/package.json`, import.meta.url), 'utf8')).version
    } catch {}
  }
  throw new Error(`${name} is not installed: run npm --prefix bench ci`)
}
