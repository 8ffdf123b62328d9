import { randomBytes } from 'node:crypto'
import { type FileHandle, open, realpath, rename, rm, stat } from 'node:fs/promises'
import { getSystemErrorMessage } from 'node:util'
import { OperatorError } from './failure.ts'

/** Resolves when there is room for more. */
export type Write = (text: string) => Promise<void>

/** Whoever read the output has gone, as `head` does when it has seen enough. */
export class ReaderGone extends Error {}

/**
 * Hands out a way to write to a file, or to standard output where none is named. The file has its name only once it is
 * whole: until then it is a file beside it, which goes when the work fails.
 */
export async function withOutput<Result>(
  path: string | undefined,
  work: (write: Write) => Promise<Result>,
): Promise<Result> {
  if (path === undefined) return work(writeToStdout)
  const existing = await stat(path).catch(() => undefined)
  // A pipe or a device is not to be replaced by a file.
  if (existing && !existing.isFile()) return withOpened(path, path, 'w', work)
  // Nor is a link, but what it leads to.
  const target = existing ? await realpath(path) : path
  const part = `${target}.${randomBytes(4).toString('hex')}.part`
  try {
    const result = await withOpened(path, part, 'wx', work, existing?.mode)
    await explained(path, () => rename(part, target))
    return result
  } catch (error) {
    await rm(part, { force: true })
    throw error
  }
}

async function withOpened<Result>(
  name: string,
  path: string,
  flags: string,
  work: (write: Write) => Promise<Result>,
  mode?: number,
): Promise<Result> {
  const file = await explained(name, () => open(path, flags, mode))
  try {
    const result = await work((text) => explained(name, () => file.writeFile(text)))
    await explained(name, () => sync(file))
    return result
  } finally {
    await file.close()
  }
}

/** Pipes and most devices have nothing to be synchronized. */
async function sync(file: FileHandle): Promise<void> {
  if ((await file.stat()).isFile()) await file.sync()
}

const writeToStdout: Write = (text) =>
  explained(
    'Standard output',
    () =>
      new Promise((resolve, reject) => {
        process.stdout.write(text, (error) => (error ? reject(error) : resolve()))
      }),
  )

/** Says in words what keeps a file from being written. */
async function explained<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    const { code, errno } = error as NodeJS.ErrnoException
    if (code === 'EPIPE') throw new ReaderGone()
    if (errno === undefined) throw error
    throw new OperatorError(`${name} cannot be written: ${getSystemErrorMessage(errno)}.`)
  }
}
