import { readdir, readFile } from 'node:fs/promises'
import { posix } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readSnippets } from './support/snippets.ts'

/** They are what the tools are set up by, and everything else comes out of the tools. */
const setups = ['codegen.ts', 'relay/relay.config.json', 'tada/tsconfig.json']

const snippets = await readSnippets()
const programs = [...snippets.keys()].filter((name) => !setups.includes(name))

/** What the tests import from the files of docs/clients.md, as `file name`. */
async function importsOfTests(): Promise<string[]> {
  const folder = new URL('.', import.meta.url)
  const tests = (await readdir(folder)).filter((name) => name.endsWith('.test.ts'))
  const texts = await Promise.all(tests.map((name) => readFile(new URL(name, folder), 'utf8')))
  return texts.flatMap((text) => importsOf(text, './snippets/', '.'))
}

/** What the files import from those beside them. */
const importsOfPrograms = () => programs.flatMap((file) => importsOf(snippets.get(file)!, './', posix.dirname(file)))

/** Imports from beneath a folder, by where that is. */
const importsOf = (text: string, folder: string, place: string) =>
  [...text.matchAll(/^import \{([^}]*)\} from '([^']*)'/gm)].flatMap(([, names, from]) =>
    from!.startsWith(folder)
      ? names!
          .split(',')
          .map((name) => name.trim().split(' as ')[0]!)
          .filter(Boolean)
          .map((name) => `${posix.join(place, from!.slice(folder.length))}.ts ${name}`)
      : [],
  )

const exportsOf = (text: string) =>
  [...text.matchAll(/^export (?:async )?(?:const|function\*?) (\w+)/gm)].map(([, name]) => name!)

describe('docs/clients.md', () => {
  it('shows the files that the tools are set up by', () => {
    expect([...snippets.keys()]).toEqual(expect.arrayContaining(setups))
  })

  it('shows nothing else that no test runs', async () => {
    const shown = programs.flatMap((file) => exportsOf(snippets.get(file)!).map((name) => `${file} ${name}`))
    const imported = [...(await importsOfTests()), ...importsOfPrograms()]

    expect(programs.length).toBeGreaterThan(8)
    expect(programs.filter((file) => exportsOf(snippets.get(file)!).length === 0)).toEqual([])
    expect(shown.filter((name) => !imported.includes(name))).toEqual([])
  })

  it('keeps its lines short', () => {
    const long = [...snippets.values()].flatMap((text) => text.split('\n').filter((line) => line.length > 120))

    expect(long).toEqual([])
  })
})
