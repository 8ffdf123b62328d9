import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const page = new URL('../../../docs/clients.md', import.meta.url)

/** The folder that the files of docs/clients.md are written to. */
export const snippetsFolder = new URL('../snippets/', import.meta.url)

/** The files that docs/clients.md shows, by their names. Each fenced block is one, named in its first line. */
export async function readSnippets(): Promise<Map<string, string>> {
  const blocks = (await readFile(page, 'utf8')).matchAll(
    /^```\w*(?: (\S+))?\n(?=(?:(?:\/\/|#) (\S+\.\w+)\n)?)(.*?)^```$/gms,
  )
  return new Map(
    [...blocks].map(([, info, comment, text]) => {
      const name = info ?? comment
      if (!name) throw new Error(`This block of docs/clients.md has no name in its first line:\n${text}`)
      return [name, text!]
    }),
  )
}

/** Writes them to a folder that has nothing else. */
export async function writeSnippets(): Promise<void> {
  await rm(snippetsFolder, { recursive: true, force: true })
  for (const [name, text] of await readSnippets()) {
    const file = new URL(name, snippetsFolder)
    await mkdir(new URL('.', file), { recursive: true })
    await writeFile(file, text)
  }
}

export const pathOfSnippet = (name: string) => fileURLToPath(new URL(name, snippetsFolder))
