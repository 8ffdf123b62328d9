import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'

/** The embedded database has no lock of its own, and two processes on one folder destroy it. */
export interface FolderLock {
  release(): Promise<void>
}

export class FolderLocked extends Error {
  constructor(folder: string, lockFile: string, pid: string) {
    super(
      `The database folder ${folder} is in use by process ${pid} (lock file ${lockFile}). ` +
        'Stop that process, or name another database in DATABASE_URL.',
    )
    this.name = 'FolderLocked'
  }
}

/** Takes `FOLDER.lock`, which names this process. A lock whose process is gone is taken over. */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const lockFile = `${folder}.lock`
  await mkdir(dirname(folder), { recursive: true })
  const mine = await describeProcess(process.pid)
  for (;;) {
    if (await createWhole(lockFile, mine)) return { release: () => rm(lockFile, { force: true }) }
    const found = await readFile(lockFile, 'utf8').catch(() => undefined)
    if (found === undefined) continue
    const pid = found.split(' ')[0]!
    if (found === mine || (await isRunning(found))) throw new FolderLocked(folder, lockFile, pid)
    await removeStale(lockFile, found)
  }
}

/** Creates the file with its content in one step, so that nobody reads a half-written lock. False where one exists. */
async function createWhole(lockFile: string, content: string): Promise<boolean> {
  const draft = `${lockFile}.${process.pid}.new`
  await writeFile(draft, content)
  try {
    await link(draft, lockFile)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return false
  } finally {
    await rm(draft)
  }
}

/** Removes the lock by moving it aside first, so that a fresh lock of a third process is noticed and put back. */
async function removeStale(lockFile: string, stale: string): Promise<void> {
  const aside = `${lockFile}.${process.pid}.stale`
  try {
    await rename(lockFile, aside)
  } catch {
    return
  }
  const moved = await readFile(aside, 'utf8')
  if (moved === stale) await rm(aside)
  else await rename(aside, lockFile)
}

async function isRunning(description: string): Promise<boolean> {
  const pid = Number(description.split(' ')[0])
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: it runs, as somebody else.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  return (await describeProcess(pid)) === description
}

/** The pid and, where the system tells it, when the process started: pids come round again. */
async function describeProcess(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // The name, in parentheses, may hold anything; the start time is the 20th field after it.
  const startTime = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  return startTime ? `${pid} ${startTime}` : `${pid}`
}
