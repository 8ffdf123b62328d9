import { setTimeout as sleep } from 'node:timers/promises'
import { Command, InvalidArgumentError } from 'commander'
import { demoAccount, ensureAccount } from '../domain/accounts.ts'
import { allPermissions, type Context } from '../domain/context.ts'
import { Client, defaultLimits, limitsOf, SourceError, SourceRefused, SourceSettingError } from '../pull/client.ts'
import { type Counts, nameOf, type PullResult, pull } from '../pull/pull.ts'
import { Source } from '../pull/source.ts'
import { withDatabase } from './database.ts'
import { describeFailure, exitCodes, OperatorError } from './failure.ts'
import { Progress, say } from './progress.ts'
import { interruption } from './stop.ts'

const poolSize = 4
/** Between two rounds, however long the first one took. */
const leastPauseMs = 1000

interface PullOptions {
  account: string
  remoteAccount?: string
  every?: Every
  changedOnly: boolean
  requestsPerHour: number
  burst: number
  concurrency: number
  allowHttp: boolean
}

interface Every {
  ms: number
  /** As it was given. */
  text: string
}

export function pullCommand(env: NodeJS.ProcessEnv): Command {
  const command = new Command('pull')
    .description(
      'Read organizations and contacts from a server that speaks the REST API: the one that people have today, or another gateway. What came from there before is brought up to date, and removed where it is gone; what was added here stays. What was interrupted goes on where it was.',
    )
    .argument('<url>', 'where the API begins; /v1 is added where there is no path')
    .option('--account <name>', 'whose they become; the account is created where there is none', demoAccount)
    .option('--remote-account <name>', 'the account on the other side (or PULL_ACCOUNT)', env.PULL_ACCOUNT || undefined)
    .option('--every <time>', 'again and again, as 15m, 2h or 1d, until it is stopped', parseEvery)
    .option(
      '--changed-only',
      'pass over the contacts of organizations whose updated_at is as it was: for servers that move it with the contacts',
      false,
    )
    .option('--requests-per-hour <n>', 'how many requests an hour may have', integer, defaultLimits.requestsPerHour)
    .option('--burst <n>', 'how many requests two seconds may have', integer, defaultLimits.burst)
    .option('--concurrency <n>', 'how many requests may be under way at once', integer, defaultLimits.concurrency)
    .option('--allow-http', 'send the token over the net in the clear', false)
    .addHelpText(
      'after',
      `
The token comes by the environment, as PULL_TOKEN.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 something of the source was refused, 130 interrupted.

Examples:
  PULL_TOKEN=… gateway pull https://api.example.com --remote-account wdc
  PULL_TOKEN=… gateway pull https://other-gateway.example.com/v1 --every 15m`,
    )
  return command.action(async (url: string, options: PullOptions) => {
    const client = clientOf(command, env, url, options)
    const signal = interruption()
    await withDatabase(
      env,
      async (db) => {
        const account = await ensureAccount(db, options.account)
        const ctx = { db, account, permissions: allPermissions }
        await pullRounds(ctx, client, options, signal)
      },
      poolSize,
    )
  })
}

function clientOf(command: Command, env: NodeJS.ProcessEnv, url: string, options: PullOptions): Client {
  try {
    return new Client({
      url,
      token: env.PULL_TOKEN || undefined,
      account: options.remoteAccount,
      allowHttp: options.allowHttp,
      limits: limitsOf(options),
      onRetry: (reason, waitMs) => say(`${reason}: again in ${Math.ceil(waitMs / 1000)} s.`),
    })
  } catch (error) {
    if (error instanceof SourceSettingError) command.error(error.message, { exitCode: 2 })
    throw error
  }
}

async function pullRounds(ctx: Context, client: Client, options: PullOptions, signal: AbortSignal): Promise<void> {
  const source = new Source(client, say)
  for (let round = 1; ; round += 1) {
    const startedAt = performance.now()
    try {
      await pullOnce(ctx, client, source, options, signal)
    } catch (error) {
      if (signal.aborted) {
        say('The pull was interrupted. Run it again: it goes on from there.')
        process.exitCode = exitCodes.interrupted
        return
      }
      const failure = error instanceof SourceError ? new OperatorError(error.message) : error
      // A token that was never good does not become so.
      if (!options.every || (round === 1 && error instanceof SourceRefused)) throw failure
      say(`${describeFailure(failure)}\nThe pull failed, and is tried again after ${options.every.text}.`)
      process.exitCode = exitCodes.failed
    }
    if (!options.every) return
    const waitMs = Math.max(options.every.ms - (performance.now() - startedAt), leastPauseMs)
    await sleep(waitMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
  }
}

async function pullOnce(
  ctx: Context,
  client: Client,
  source: Source,
  { remoteAccount, changedOnly }: PullOptions,
  signal: AbortSignal,
): Promise<void> {
  const before = { requests: client.requests, notModified: client.notModified }
  let progress: Progress | undefined
  const pulled = pull(ctx, nameOf(client.base, remoteAccount), source, {
    changedOnly,
    signal,
    tell: say,
    onProgress(done, total) {
      progress ??= new Progress(total, 'organizations')
      progress.update(done)
    },
  })
  const result = await pulled.finally(() => progress?.end())
  const requests = client.requests - before.requests
  process.stdout.write(`${tellResult(result, requests, client.notModified - before.notModified)}\n`)
  process.exitCode = result.organizations.failed + result.contacts.failed > 0 ? exitCodes.refused : 0
}

function tellResult({ isResumed, organizations, contacts }: PullResult, requests: number, notModified: number): string {
  return [
    ...(isResumed ? ['The pull that was interrupted went on, and is done.'] : []),
    `Organizations: ${tellCounts(organizations)}.`,
    `Contacts: ${tellCounts(contacts)}.`,
    `Requests: ${requests}, of which ${notModified} found nothing changed.`,
  ].join('\n')
}

const tellCounts = ({ created, updated, unchanged, deleted, failed }: Counts) =>
  `${created} created, ${updated} updated, ${unchanged} unchanged, ${deleted} deleted, ${failed} failed`

const unitMs: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
/** Timers take no more. */
const longestMs = 2 ** 31 - 1

function parseEvery(text: string): Every {
  const [, count, unit] = /^([1-9]\d{0,4})([smhd])$/.exec(text) ?? []
  const ms = Number(count) * (unitMs[unit ?? ''] ?? Number.NaN)
  if (ms <= longestMs) return { ms, text }
  throw new InvalidArgumentError('It must be a time such as 15m, 2h or 1d; at most 24d.')
}

function integer(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It must be an integer from 1 to 999999.')
}
