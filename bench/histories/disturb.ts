import { setTimeout as pause } from 'node:timers/promises'
import type { LinkMode } from '../faults/proxy.ts'
import type { Stage } from '../faults/stage.ts'

/** Something that goes wrong for a while, and is over when it resolves. */
export interface Disturbance {
  name: string
  run(stage: Stage, chance: Chance): Promise<void>
}

/** What is left to chance, by a seed. */
export interface Chance {
  between(low: number, high: number): number
  pick<Item>(items: readonly Item[]): Item
  /** The organizations that clients are at work on. */
  organizations: readonly number[]
}

export const disturbances: readonly Disturbance[] = [
  { name: 'kill', run: killGateway },
  { name: 'kill in wait', run: killWhileWaiting },
  { name: 'terminate', run: terminateSessions },
  { name: 'lock', run: (stage, chance) => lockOrganization(stage, chance) },
  { name: 'crash', run: crashPostgres },
  // An empty text is in every statement.
  withLink('swallow', ({ between }) => ({ kind: 'swallow-answer', containing: '', times: Math.round(between(1, 8)) })),
  withLink('cut', ({ between }) => ({ kind: 'cut', bytes: Math.round(between(1, 6000)) })),
  withLink('stall', () => ({ kind: 'stall' })),
  withLink('reset', () => ({ kind: 'reset' })),
  withLink('refuse', () => ({ kind: 'refuse' })),
]

async function killGateway({ gateway }: Stage): Promise<void> {
  await gateway.kill()
  await gateway.start()
}

/** PostgreSQL goes on with statements that wait, when nobody is there any more to hear of them. */
async function killWhileWaiting(stage: Stage, chance: Chance): Promise<void> {
  const locked = lockOrganization(stage, chance)
  await pause(100)
  await stage.gateway.kill()
  await Promise.all([locked, stage.gateway.start()])
}

async function terminateSessions({ postgres }: Stage, { between }: Chance): Promise<void> {
  for (let left = Math.round(between(1, 8)); left > 0; left -= 1) {
    await postgres.terminateSessions()
    await pause(between(10, 60))
  }
}

async function lockOrganization({ postgres }: Stage, { between, pick, organizations }: Chance): Promise<void> {
  await postgres.use((sql) =>
    sql.begin(async (transaction) => {
      await transaction`select from organizations where id = ${pick(organizations)} for update`
      await pause(between(100, 900))
    }),
  )
}

async function crashPostgres({ postgres }: Stage, { between }: Chance): Promise<void> {
  await postgres.stop('immediate')
  await pause(between(0, 200))
  await postgres.start()
}

function withLink(name: string, modeOf: (chance: Chance) => LinkMode): Disturbance {
  return {
    name,
    async run({ proxy }, chance) {
      await proxy.set(modeOf(chance))
      await pause(chance.between(50, 600))
      await proxy.set({ kind: 'pass' })
    },
  }
}

/** Takes a contact away behind the gateway's back: whoever looks at histories must find it. */
export async function sabotage({ postgres }: Stage, organizations: readonly number[]): Promise<void> {
  for (let tries = 1; tries <= 200; tries += 1) {
    const removed = await postgres.use(
      (sql) => sql`
        delete from contacts where id in (
          select max(id) from contacts where organization_id = any(${organizations as number[]}) group by organization_id)`,
    )
    if (removed.count === organizations.length) return
    await pause(20)
  }
  throw new Error('There was no contact to take away.')
}
