import './runtime.js'
import { readFile, writeFile } from 'node:fs/promises'
import { text as readAll } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { Command, CommanderError } from 'commander'
import { buildSchema } from 'graphql'
import { changesBetween, describeChanges, holdToReleased } from './schema-changes.ts'

const fetchMs = 30_000
const pathOf = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url))

async function presentSchema() {
  const { createSchema } = await import('../src/graphql/schema.ts')
  return createSchema()
}

async function presentText(): Promise<string> {
  const { printSortedSchema } = await import('../src/graphql/schema.ts')
  return printSortedSchema(await presentSchema())
}

/** Reads a schema of wherever an argument says, and tells by that name what is wrong with it. */
async function readSchema(from: string, fields: readonly string[]): Promise<string> {
  try {
    const text = await readText(from, fields)
    buildSchema(text)
    return text
  } catch (error) {
    throw new Error(`There is no schema to be read from ${from}: ${reasonOf(error)}`)
  }
}

async function readText(from: string, fields: readonly string[]): Promise<string> {
  if (from === '-') return readAll(process.stdin)
  if (!/^https?:/.test(from)) return readFile(from, 'utf8')
  const headers = fields.map((field): [string, string] => {
    const [name = '', ...value] = field.split(':')
    return [name.trim(), value.join(':').trim()]
  })
  const response = await fetch(from, { headers, signal: AbortSignal.timeout(fetchMs) })
  const body = await response.text()
  if (!response.ok) throw new Error(`HTTP ${response.status} ${body.slice(0, 300)}`)
  return body
}

/** What `fetch` throws has its reason within. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error ? `${message}: ${cause.message}` : message
}

const program = new Command('schema')
  .description('What the development of the schema needs.')
  .showHelpAfterError('(--help tells more)')
  .exitOverride()

program
  .command('write')
  .description('Write schema.graphql and the files beside it that are made of the schema.')
  .action(async () => {
    const { artefacts } = await import('../src/graphql/artefacts.ts')
    const schema = await presentSchema()
    for (const [name, print] of Object.entries(artefacts)) await writeFile(pathOf(name), print(schema))
  })

program
  .command('diff')
  .description(
    'Tell what has changed between two schemas: what breaks clients, what may surprise them, and what is safe.',
  )
  .argument('<old>', 'a file, - for standard input, or an address: https://…/schema.graphql of a gateway')
  .argument('[new]', 'likewise; the schema of this project unless given')
  .option(
    '--header <field>',
    "sent to addresses, e.g. --header 'authorization: Bearer …'; may be repeated",
    (field: string, others: string[] = []) => [...others, field],
  )
  .addHelpText(
    'after',
    '\nThe exit code is 1 where something breaks, 2 where a schema cannot be read, and 0 otherwise.\nDescriptions are not compared.',
  )
  .action(async (before: string, after: string | undefined, { header = [] }: { header?: string[] }) => {
    const old = await readSchema(before, header)
    const present = after === undefined ? await presentText() : await readSchema(after, header)
    const changes = await changesBetween(old, present)
    process.stdout.write(`${describeChanges(changes)}\n`)
    if (changes.some(({ level }) => level === 'breaking')) process.exitCode = 1
  })

program
  .command('check')
  .description(
    'Fail where the schema breaks what was released (schema.released.graphql) and CHANGELOG.md does not say so.',
  )
  .action(async () => {
    const [released, changelog] = await Promise.all(
      ['schema.released.graphql', 'CHANGELOG.md'].map((name) => readFile(pathOf(name), 'utf8')),
    )
    const { isHeld, text } = await holdToReleased(released!, await presentText(), changelog!)
    const output = isHeld ? process.stdout : process.stderr
    output.write(`${text}\n`)
    if (!isHeld) process.exitCode = 1
  })

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else {
    process.exitCode = 2
    process.stderr.write(`${reasonOf(error)}\n`)
  }
}
