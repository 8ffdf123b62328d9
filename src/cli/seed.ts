import { Command, InvalidArgumentError } from 'commander'
import { readConfig } from '../config.ts'
import { openDatabase } from '../db/client.ts'
import { migrate } from '../db/migrate.ts'
import { demoAccount, ensureAccount } from '../domain/accounts.ts'
import type { Context } from '../domain/context.ts'
import { groupSize, plausibleOrganization } from '../domain/plausible.ts'
import { sampleOrganizations } from '../domain/sample.ts'
import { seedOrganizations } from '../domain/seed.ts'
import { Progress } from './progress.ts'

const maxOrganizations = 10_000_000
const maxContacts = 1000
/** Rows in one statement, about: enough to make round trips cheap, few enough to see progress. */
const rowsPerBatch = 4000

export function seedCommand(env: NodeJS.ProcessEnv): Command {
  return new Command('seed')
    .description(
      'Fill the database: with the sample, or with as many plausible organizations as you say. What exists by name stays as it is, so seeding can be repeated and resumed.',
    )
    .option('--organizations <n>', 'how many organizations; without it, the sample', integer(1, maxOrganizations))
    .option('--contacts <n>', 'how many contacts each of them has', integer(0, maxContacts), 7)
    .action(async ({ organizations, contacts }: { organizations?: number; contacts: number }) => {
      const { databaseUrl, databasePrepare } = readConfig(env)
      const db = await openDatabase({ url: databaseUrl, poolSize: 2, prepare: databasePrepare })
      try {
        await migrate(db)
        const ctx = { db, account: await ensureAccount(db, demoAccount) }
        if (organizations === undefined) {
          const created = await seedOrganizations(ctx, sampleOrganizations)
          process.stdout.write(`The sample is there: ${tell(created)} were new.\n`)
        } else await fill(ctx, organizations, contacts)
      } finally {
        await db.close()
      }
    })
}

async function fill(ctx: Context, organizations: number, contacts: number): Promise<void> {
  let stopped = false
  const stop = () => {
    stopped = true
  }
  process.once('SIGINT', stop).once('SIGTERM', stop)

  const rowsEach = 1 + contacts
  // Whole groups, since a parent is in the batch of its children or in one before it.
  const batchSize = Math.max(1, Math.round(rowsPerBatch / rowsEach / groupSize)) * groupSize
  const progress = new Progress(organizations * rowsEach, 'rows')
  const created = { organizations: 0, contacts: 0 }
  let next = 0
  while (next < organizations && !stopped) {
    const size = Math.min(batchSize, organizations - next)
    const seeds = Array.from({ length: size }, (_, i) => plausibleOrganization(next + i, contacts))
    const added = await seedOrganizations(ctx, seeds)
    created.organizations += added.organizations
    created.contacts += added.contacts
    next += size
    progress.update(next * rowsEach)
  }
  process.stdout.write(`${tell(created)} were added, ${progress.rate(next * rowsEach)} rows a second.\n`)
  if (stopped && next < organizations) {
    process.stdout.write(`Stopped after ${next} of ${organizations}: the same command goes on from there.\n`)
    process.exitCode = 130
  }
}

const tell = ({ organizations, contacts }: { organizations: number; contacts: number }) =>
  `${organizations} organizations and ${contacts} contacts`

const integer = (min: number, max: number) => (text: string) => {
  if (/^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max) return Number(text)
  throw new InvalidArgumentError(`It must be an integer from ${min} to ${max}.`)
}
