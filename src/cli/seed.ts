import { Command, InvalidArgumentError } from 'commander'
import { demoAccount, ensureAccount } from '../domain/accounts.ts'
import { allPermissions, type Context } from '../domain/context.ts'
import { groupSize, plausibleOrganization } from '../domain/plausible.ts'
import { sampleOrganizations } from '../domain/sample.ts'
import { seedOrganizations } from '../domain/seed.ts'
import { withDatabase } from './database.ts'
import { exitCodes } from './failure.ts'
import { Progress } from './progress.ts'
import { interruption } from './stop.ts'

const maxOrganizations = 10_000_000
const maxContacts = 1000
/** Rows in one statement, about: enough to make round trips cheap, few enough to see progress. */
const rowsPerBatch = 4000
const batchesAtOnce = 2

interface SeedOptions {
  account: string
  organizations?: number
  contacts: number
}

export function seedCommand(env: NodeJS.ProcessEnv): Command {
  return new Command('seed')
    .description(
      'Fill the database: with the sample, or with as many plausible organizations as you say. What exists by name stays as it is, so seeding can be repeated and resumed.',
    )
    .option('--organizations <n>', 'how many organizations; without it, the sample', integer(1, maxOrganizations))
    .option('--account <name>', 'whose they are; the account is created where there is none', demoAccount)
    .option('--contacts <n>', 'how many contacts each of them has', integer(0, maxContacts), 7)
    .action(async ({ account, organizations, contacts }: SeedOptions) => {
      await withDatabase(
        env,
        async (db) => {
          const ctx = { db, account: await ensureAccount(db, account), permissions: allPermissions }
          if (organizations === undefined) {
            const created = await seedOrganizations(ctx, sampleOrganizations)
            process.stdout.write(`The sample is there: ${tell(created)} were new.\n`)
          } else await fill(ctx, organizations, contacts)
        },
        batchesAtOnce,
      )
    })
}

async function fill(ctx: Context, organizations: number, contacts: number): Promise<void> {
  const signal = interruption()

  const rowsEach = 1 + contacts
  // Whole groups, since a parent is in the batch of its children or in one before it.
  const batchSize = Math.max(1, Math.round(rowsPerBatch / rowsEach / groupSize)) * groupSize
  const progress = new Progress(organizations * rowsEach, 'rows')
  const created = { organizations: 0, contacts: 0 }
  let done = 0
  /** Sent, but not yet answered: one batch is made while the database works on another. */
  const sent: { size: number; answer: ReturnType<typeof seedOrganizations> }[] = []
  const awaitOldest = async () => {
    const { size, answer } = sent.shift()!
    const added = await answer
    created.organizations += added.organizations
    created.contacts += added.contacts
    done += size
    progress.update(done * rowsEach)
  }
  for (let next = 0; next < organizations && !signal.aborted; next += batchSize) {
    const size = Math.min(batchSize, organizations - next)
    const seeds = Array.from({ length: size }, (_, i) => plausibleOrganization(next + i, contacts))
    const answer = seedOrganizations(ctx, seeds)
    // It is awaited in its turn; until then a failure is not to end the process.
    answer.catch(() => {})
    sent.push({ size, answer })
    if (sent.length === batchesAtOnce) await awaitOldest()
  }
  while (sent.length > 0) await awaitOldest()
  process.stdout.write(`${tell(created)} were added, ${progress.rate(done * rowsEach)} rows a second.\n`)
  if (done < organizations) {
    process.stdout.write(`Stopped after ${done} of ${organizations}: the same command goes on from there.\n`)
    process.exitCode = exitCodes.interrupted
  }
}

const tell = ({ organizations, contacts }: { organizations: number; contacts: number }) =>
  `${organizations} organizations and ${contacts} contacts`

const integer = (min: number, max: number) => (text: string) => {
  if (/^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max) return Number(text)
  throw new InvalidArgumentError(`It must be an integer from ${min} to ${max}.`)
}
