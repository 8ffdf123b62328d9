import { execFile } from 'node:child_process'
import { copyFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { snippetsFolder, writeSnippets } from './snippets.ts'

const run = promisify(execFile)

export const artefacts = ['schema.graphql', 'possibleTypes.json', 'schema.introspection.json']

/** Makes the files of docs/clients.md, and from them what the tools of the clients make, as frontend teams would. */
export async function generate(): Promise<void> {
  await writeSnippets()
  for (const name of artefacts) {
    await copyFile(new URL(`../../../${name}`, import.meta.url), new URL(name, snippetsFolder))
  }
  await Promise.all([
    runTool('graphql-codegen', ['--config', 'codegen.ts']),
    runTool('relay-compiler', [], 'relay'),
    runTool('gql.tada', ['generate-output'], 'tada'),
  ])
}

/** Runs a program of the clients' packages in a folder of the snippets, and tells what it has printed. */
export async function runTool(name: string, args: string[], folder = '.'): Promise<string> {
  const program = fileURLToPath(new URL(`../node_modules/.bin/${name}`, import.meta.url))
  const { stdout, stderr } = await run(program, args, {
    cwd: fileURLToPath(new URL(folder, snippetsFolder)),
    env: { ...process.env, NO_COLOR: '1' },
  })
  return stdout + stderr
}
