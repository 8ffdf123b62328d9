import { Command, InvalidArgumentError } from 'commander'
import { Cleanup } from '../faults/cleanup.ts'
import { disturbances } from './disturb.ts'
import { checkFile, defaults, type HistoryResult, runHistories, shortOptions } from './histories.ts'

interface Options {
  seeds: number
  seed?: number
  seconds: number
  clients: number
  organizations: number
  short: boolean
  only?: string[]
  keys: 'auto' | 'on' | 'off'
  sabotage: boolean
  postgres: string
  folder?: string
  check?: string
}

const exitCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }

const atLeastOne = (text: string): number => {
  const number = Number(text)
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError('It must be an integer from 1.')
  return number
}

const oneOf = <Word extends string>(...words: Word[]) => {
  return (text: string): Word => {
    const word = words.find((known) => known === text)
    if (!word) throw new InvalidArgumentError(`It must be one of ${words.join(', ')}.`)
    return word
  }
}

const program = new Command('histories')
  .description(
    'Lets clients work on the contacts of organizations while things go wrong, and checks that what each of them was told is what some order of their operations explains. Everything happens on 127.0.0.1. Exits with 1 when a history is not linearizable.',
  )
  .option('--seeds <count>', 'how many seeds, from 1', atLeastOne, 20)
  .option('--seed <seed>', 'this seed alone', atLeastOne)
  .option('--seconds <seconds>', 'how long clients are at work, for each seed', atLeastOne, defaults.seconds)
  .option('--clients <count>', 'how many clients', atLeastOne, defaults.clients)
  .option('--organizations <count>', 'how many organizations they share', atLeastOne, defaults.organizations)
  .option('--short', 'one seed, in about 15 seconds', false)
  .option('--only <names>', 'what goes wrong, separated by commas; "none" for nothing', (names: string) =>
    names.split(','),
  )
  .option('--keys <when>', 'whether mutations carry a key: auto, on or off', oneOf('auto', 'on', 'off'), 'auto')
  .option('--sabotage', 'take contacts away behind the back of the gateway: it must be found', false)
  .option('--postgres <version>', 'a major version (of Debian or npm), or a folder of programs', defaults.postgres)
  .option('--folder <folder>', 'where histories go that are not linearizable')
  .option('--check <file>', 'check such a history again, and nothing else')
  .addHelpText('after', `\nWhat goes wrong: ${disturbances.map(({ name }) => name).join(', ')}.`)
  .showHelpAfterError('(--help tells more)')
  .action(async (options: Options) => {
    if (options.check) await checkAgain(options.check)
    else await run(options)
  })

async function run({ seed, short, keys, sabotage, only, ...options }: Options): Promise<void> {
  const cleanup = new Cleanup()
  let isStopping = false
  for (const [signal, code] of Object.entries(exitCodes)) {
    process.once(signal, () => {
      isStopping = true
      tell(`${signal}: cleaning up`)
      cleanup.run().finally(() => process.exit(code))
    })
  }
  print(columns.map(({ name, width }) => name.padStart(width)).join('  '))
  const report = await runHistories({
    ...options,
    seeds: seed ? [seed] : Array.from({ length: options.seeds }, (_, i) => i + 1),
    ...(short && shortOptions),
    only: only?.filter((name) => name !== 'none'),
    keys: keys === 'auto' ? undefined : keys === 'on',
    isSabotaged: sabotage,
    cleanup,
    onProgress: tell,
    onResult: (result) => print(columns.map(({ width, of }) => of(result).padStart(width)).join('  ')),
  }).catch((error) => {
    // It ends by the signal's own code.
    if (!isStopping) throw error
  })
  if (!report) return
  for (const { file, report: why } of report.results) if (why) print(`\n${file}\n${why}`)
  if (report.surprises.length > 0) print(`\nAnswers and logs that nothing documented explains:`)
  for (const surprise of report.surprises) print(`  ${surprise}`)
  const right = report.results.filter(({ verdict }) => verdict === 'linearizable').length
  const keyed = report.withKeys ? `${report.repeated} calls were repeated with their key` : 'no call had a key'
  print(`\n${right} of ${report.results.length} histories are linearizable; ${keyed}.`)
  process.exitCode = report.passed ? 0 : 1
}

async function checkAgain(file: string): Promise<void> {
  const { verdict, report } = await checkFile(file)
  print(report || verdict)
  process.exitCode = verdict === 'linearizable' ? 0 : 1
}

const columns: { name: string; width: number; of(result: HistoryResult): string }[] = [
  { name: 'seed', width: 4, of: ({ seed }) => String(seed) },
  { name: 'organization', width: 12, of: ({ organization }) => String(organization) },
  { name: 'operations', width: 10, of: ({ operations }) => String(operations) },
  { name: 'unknown', width: 7, of: ({ unknown }) => String(unknown) },
  { name: 'done', width: 4, of: ({ done }) => String(done) },
  { name: 'verdict', width: 16, of: ({ verdict }) => verdict },
  { name: 'ms', width: 6, of: ({ ms }) => ms.toFixed(0) },
  { name: 'what went wrong', width: 0, of: (result) => result.disturbances.join(', ') },
]

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

function tell(text: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`)
}

await program.parseAsync()
