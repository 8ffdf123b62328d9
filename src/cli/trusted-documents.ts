import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, extname, join } from 'node:path'
import type { Config } from '../config.ts'
import { createSchema } from '../graphql/schema.ts'
import {
  checkDocuments,
  type ListedDocument,
  listFile,
  listManifest,
  type TrustedDocuments,
} from '../graphql/trusted-documents.ts'
import { OperatorError } from './failure.ts'

/** More than these are mostly the same over and over. */
const maxFaultsTold = 100

/** Reads and checks the documents that the configuration names, or throws an OperatorError with every fault. */
export async function readTrustedDocuments(config: Config): Promise<TrustedDocuments> {
  const faults: string[] = []
  const listed = await list(config.persistedDocuments!, faults)
  const documents = checkDocuments(listed, { ...config, schema: createSchema(config) }, faults)
  if (listed.length === 0 && faults.length === 0) faults.push('There is no document in it.')
  if (faults.length === 0) return documents
  const told = faults.slice(0, maxFaultsTold)
  const rest = faults.length - told.length
  throw new OperatorError(
    [
      `PERSISTED_DOCUMENTS (${config.persistedDocuments}) is not usable:`,
      ...told.map((fault) => `  - ${fault}`),
      ...(rest > 0 ? [`  … and ${rest} more`] : []),
    ].join('\n'),
  )
}

/** The documents of a file, or of each file of a folder that may have some. */
async function list(path: string, faults: string[]): Promise<ListedDocument[]> {
  const files = await orFault(path, faults, async () =>
    (await stat(path)).isDirectory() ? await filesOf(path) : [path],
  )
  const listed: ListedDocument[] = []
  for (const file of files) {
    const read = async () => {
      const text = await readFile(file, 'utf8')
      return extname(file) === '.graphql'
        ? [listFile(basename(file), text)]
        : listManifest(basename(file), text, faults)
    }
    listed.push(...(await orFault(file, faults, read)))
  }
  return listed
}

async function filesOf(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => ['.json', '.graphql'].includes(extname(name)))
  return names.toSorted().map((name) => join(folder, name))
}

async function orFault<Item>(path: string, faults: string[], read: () => Promise<Item[]>): Promise<Item[]> {
  try {
    return await read()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (!code) throw error
    faults.push(`${basename(path)} cannot be read (${code}).`)
    return []
  }
}
