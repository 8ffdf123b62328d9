import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { pathOfSnippet } from './support/snippets.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))

/** What the compiler finds wrong with a project, a line for each. */
async function faultsOf(project: string): Promise<string[]> {
  const { stdout } = await run(join(root, 'node_modules/.bin/tsc'), ['--noEmit', '--project', project], {
    cwd: root,
  }).catch((error: { stdout: string }) => error)
  return stdout.split('\n').filter((line) => line && !line.startsWith(' '))
}

/** What the compiler finds wrong with a file of docs/clients.md after it was edited, or with a file beside it. */
async function faultsAfter(name: string, edit: (text: string) => string): Promise<string[]> {
  const original = pathOfSnippet(name)
  // A folder beside it, so that its imports lead from there to the same files.
  const folder = await mkdtemp(join(original, '../edited-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const text = await readFile(original, 'utf8')
  const edited = edit(text)
  expect(edited).not.toBe(text)
  await writeFile(join(folder, 'edited.ts'), edited.replaceAll("from './", "from '../"))
  await writeFile(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ extends: join(root, 'test/clients/tsconfig.json'), include: ['edited.ts'], exclude: [] }),
  )
  return faultsOf(folder)
}

describe('the compiler', () => {
  it('finds no fault in the files of docs/clients.md and in these tests', async () => {
    expect(await faultsOf(join(root, 'test/clients'))).toEqual([])
  })

  it('finds no fault in those of gql.tada, as it is set up there', async () => {
    expect(await faultsOf(pathOfSnippet('tada'))).toEqual([])
  })

  it.each(['AddContactSuccess', 'ValidationError', 'NotFoundError', 'ConflictError'])(
    'finds that a switch over the result of a mutation leaves out %s',
    async (member) => {
      const withoutCase = (text: string) => text.replace(new RegExp(` +case '${member}':\n.*\n`), '')

      expect(await faultsAfter('changes.ts', withoutCase)).toEqual([expect.stringMatching(/TS1360: .*'never'/)])
    },
  )

  it('finds that a field of one member is read of any, with the client preset and with gql.tada', async () => {
    const ofAny = (text: string) => text.replace(/case 'TelephoneContact'/, "case 'EmailContact'")
    const always = (text: string) => text.replace("=== 'TelephoneContact'", "=== 'EmailContact'")

    expect(await faultsAfter('contacts.ts', ofAny)).toEqual([expect.stringMatching(/'numbers' does not exist/)])
    expect(await faultsAfter('tada/contacts.ts', always)).toEqual([expect.stringMatching(/'numbers' does not exist/)])
  })

  it.each([
    ['a label that the channel does not have', "{ email: { label: 'FAX', value: '' } }"],
    ['two channels', "{ email: { label: 'GENERAL', value: '' }, website: { label: 'GENERAL', value: '' } }"],
    ['no channel', '{}'],
  ])('finds %s in a contact to add', async (_, contact) => {
    const add = (text: string) =>
      `import type { NewContact } from './gql/graphql'\n${text}\nexport const contact: NewContact = ${contact}\n`

    expect(await faultsAfter('changes.ts', add)).toEqual([expect.stringMatching(/TS2322|TS2820/)])
  })
})
