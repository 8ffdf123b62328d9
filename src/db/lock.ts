import { randomUUID } from 'node:crypto'
import { link, mkdir, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

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
  const lockFile = `${await canonical(folder)}.lock`
  const holder = await acquire(lockFile, await describeProcess(process.pid))
  if (holder !== undefined) throw new FolderLocked(folder, lockFile, holder.split(' ')[0]!)
  let isHeld = true
  return {
    async release() {
      // By the second time it may be somebody else's.
      if (!isHeld) return
      isHeld = false
      await rm(lockFile, { force: true })
    },
  }
}

/** One path for one folder, however it is spelled: `data/`, `./data` or a link to it. */
async function canonical(folder: string): Promise<string> {
  const path = resolve(folder)
  await mkdir(dirname(path), { recursive: true })
  return realpath(path).catch(async () => join(await realpath(dirname(path)), basename(path)))
}

/** Takes a lock file; where a running process holds it, tells which. */
async function acquire(lockFile: string, mine: string): Promise<string | undefined> {
  for (;;) {
    if (await createWhole(lockFile, mine)) return undefined
    const found = await read(lockFile)
    if (found === undefined) continue
    if (found === mine || (await isRunning(found))) return found
    await removeStale(lockFile, mine)
  }
}

const read = (lockFile: string) => readFile(lockFile, 'utf8').catch(() => undefined)

/** Creates the file with its content in one step, so that nobody reads a half-written lock. False where one exists. */
async function createWhole(lockFile: string, content: string): Promise<boolean> {
  const draft = `${lockFile}.${randomUUID()}.new`
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

/**
 * Removes a lock whose process is gone. Only the holder of a second lock does so, and looks again first: a stale lock then
 * stays what it is until it is removed, so a fresh one is never removed in its place.
 */
async function removeStale(lockFile: string, mine: string): Promise<void> {
  const takeover = `${lockFile}.takeover`
  if ((await acquire(takeover, mine)) !== undefined) return pause(takeoverPauseMs)
  try {
    const found = await read(lockFile)
    if (found !== undefined && found !== mine && !(await isRunning(found))) await rm(lockFile, { force: true })
  } finally {
    await rm(takeover, { force: true })
  }
}

/** How long to wait while another process removes a stale lock. */
const takeoverPauseMs = 5

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
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  // It has ended; only whoever started it has not asked how yet.
  if (fields[0] === 'Z') return `${pid} ended`
  const startTime = fields[19]
  return startTime ? `${pid} ${startTime}` : `${pid}`
}
