import { Agent } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import type { StoredContact } from './checker.ts'
import type { Cleanup } from './cleanup.ts'
import { send } from './client.ts'
import type { Figures } from './figures.ts'
import { type ControlledGateway, createGateway } from './gateway.ts'
import { type ControlledPostgres, createPostgres, type PostgresOptions, waitUntilServing } from './postgres.ts'
import { type LinkProxy, startProxy } from './proxy.ts'

/** Everything that can be broken: the gateway reaches PostgreSQL through the proxy. */
export interface Stage {
  readonly postgres: ControlledPostgres
  readonly proxy: LinkProxy
  readonly gateway: ControlledGateway
  /** Where the data of PostgreSQL is. */
  readonly postgresFolder: string
  /** Brings all of it back into order, whatever was done to it. */
  settle(): Promise<void>
  /**
   * Connections that the gateway can use: it believes in them, and PostgreSQL knows of as many. Undefined where the gateway
   * does not tell.
   */
  countConnections(): Promise<number | undefined>
  createOrganizations(name: string, count: number): Promise<number[]>
  /** Once nothing is under way any more: the contacts of organizations as PostgreSQL has them. */
  storedContacts(organizations: readonly number[]): Promise<StoredContact[]>
}

export interface StageOptions {
  figures: Figures
  postgres: Omit<PostgresOptions, 'onLog'>
  onLog?: (source: 'gateway' | 'postgres', line: string) => void
}

const quietTimeoutMs = 30_000
const quietPauseMs = 50

export async function buildStage(cleanup: Cleanup, { figures, onLog, ...options }: StageOptions): Promise<Stage> {
  const postgres = await createPostgres(cleanup, {
    ...options.postgres,
    onLog: (line) => onLog?.('postgres', line),
  })
  await postgres.start()
  const proxy = await startProxy(postgres)
  cleanup.add(() => proxy.close())
  const gateway = await createGateway(cleanup, {
    databaseUrl: `postgres://postgres@127.0.0.1:${proxy.port}/postgres`,
    figures,
    onLog: (line) => onLog?.('gateway', line),
  })

  const create = async (name: string): Promise<number> => {
    const query = `mutation ($name: String!) { createOrganization(input: { name: $name }) {
      ... on CreateOrganizationSuccess { organization { databaseId } } } }`
    const call = { method: 'POST' as const, path: '/graphql', body: { query, variables: { name } } }
    const answer = await send(gateway.origin, call, { agent: new Agent(), limitMs: figures.limits.answerMs })
    const text = answer.end === 'answered' ? answer.text : answer.end
    const id = /"databaseId":\s*(\d+)/.exec(text)?.[1]
    if (!id) throw new Error(`The organization ${name} could not be made: ${text}`)
    return Number(id)
  }

  return {
    postgres,
    proxy,
    gateway,
    postgresFolder: postgres.folder,
    async settle() {
      await proxy.set({ kind: 'pass' })
      if (!postgres.isRunning) await postgres.start()
      await waitUntilServing(postgres)
      if (!gateway.isRunning) await gateway.start()
    },
    async countConnections() {
      const believed = await gateway.countConnections()
      return believed === undefined ? undefined : Math.min(believed, (await postgres.countSessions()).all)
    },
    async createOrganizations(name, count) {
      const ids: number[] = []
      for (let number = 1; number <= count; number += 1) ids.push(await create(`${name} ${number}`))
      return ids
    },
    async storedContacts(organizations) {
      await untilQuiet(postgres)
      return postgres.use(
        (sql) => sql<StoredContact[]>`
          select c.value, c.version, exists (
            select from contact_lookups l where l.account_id = c.account_id and l.contact_id = c.id
          ) as "isFound"
          from contacts c where c.organization_id = any(${organizations}::bigint[])`,
      )
    },
  }
}

/** A statement whose caller has gone may still be running: what it does counts, too. */
async function untilQuiet(postgres: ControlledPostgres): Promise<void> {
  const end = performance.now() + quietTimeoutMs
  for (let quietTimes = 0; quietTimes < 3; ) {
    const { busy } = await postgres.countSessions()
    quietTimes = busy === 0 ? quietTimes + 1 : 0
    if (performance.now() > end) throw new Error(`${busy} sessions of the gateway do not end what they do.`)
    await pause(quietPauseMs)
  }
}
