import { type ChildProcess, spawn } from 'node:child_process'
import { access, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type FolderLock, FolderLocked, lockFolder } from '../../src/db/lock.ts'

/** Above every pid that a system gives out. */
const deadPid = 2 ** 30

let parent: string
let folder: string
let lockFile: string
let held: FolderLock[]
let holders: Holder[]

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'contacts-gateway-lock-'))
  folder = join(parent, 'data')
  lockFile = `${folder}.lock`
  held = []
  holders = []
})

afterEach(async () => {
  await Promise.all(holders.map((holder) => holder.end()))
  await Promise.all(held.map((lock) => lock.release()))
  await rm(parent, { recursive: true, force: true })
})

async function take(path = folder): Promise<FolderLock> {
  const lock = await lockFolder(path)
  held.push(lock)
  return lock
}

async function startHolder(): Promise<Holder> {
  const holder = await Holder.start()
  holders.push(holder)
  return holder
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  )
const filesBeside = () => readdir(parent)

describe('lockFolder', () => {
  it('writes a lock beside the folder that names this process', async () => {
    await take()

    const [pid] = (await readFile(lockFile, 'utf8')).split(' ')
    expect(pid).toBe(String(process.pid))
    expect(await filesBeside()).toEqual(['data.lock'])
  })

  it('makes the folders above, and leaves the folder itself to the database', async () => {
    await take(join(parent, 'a', 'b', 'data'))

    expect(await readdir(join(parent, 'a', 'b'))).toEqual(['data.lock'])
  })

  it('refuses a second holder in the same process', async () => {
    await take()

    const second = lockFolder(folder)

    await expect(second).rejects.toThrow(FolderLocked)
    await expect(second).rejects.toThrow(
      `The database folder ${folder} is in use by process ${process.pid} (lock file ${lockFile}). ` +
        'Stop that process, or name another database in DATABASE_URL.',
    )
    expect(await filesBeside()).toEqual(['data.lock'])
  })

  it('refuses all but one of many that come at the same time in one process', async () => {
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => take()))

    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(results.flatMap((result) => (result.status === 'rejected' ? [result.reason.name] : []))).toEqual(
      Array(19).fill('FolderLocked'),
    )
    expect(await filesBeside()).toEqual(['data.lock'])
  })

  it('refuses a second holder in another process, and names the first', async () => {
    const holder = await startHolder()
    await holder.takes(folder, 1)

    const second = lockFolder(folder)

    await expect(second).rejects.toThrow(FolderLocked)
    await expect(second).rejects.toThrow(`in use by process ${holder.pid} `)
  })

  it('is refused to another process while this one holds it', async () => {
    await take()
    const holder = await startHolder()

    const outcomes = await holder.takes(folder, 1)

    expect(outcomes).toEqual(['FolderLocked'])
  })

  it('lets folders be held beside each other', async () => {
    await take()
    await take(`${folder}2`)

    expect(await filesBeside()).toEqual(['data.lock', 'data2.lock'])
  })

  it('removes the lock when it is released, so that the next one gets it', async () => {
    const first = await take()
    await first.release()
    const wasRemoved = !(await exists(lockFile))

    await take()

    expect(wasRemoved).toBe(true)
    expect(await exists(lockFile)).toBe(true)
  })

  it('does not release the lock of the next holder when it is released twice', async () => {
    const first = await take()
    await first.release()
    await take()

    await first.release()

    await expect(lockFolder(folder)).rejects.toThrow(FolderLocked)
  })

  it('takes over the lock of a process that was killed', async () => {
    const holder = await startHolder()
    await holder.takes(folder, 1)
    await holder.kill()
    const wasLeft = await exists(lockFile)

    await take()

    expect(wasLeft).toBe(true)
    await expectOurs()
  })

  it.each([
    ['a process that is gone', `${deadPid} 12345`],
    ['a process that is gone, of a system that tells no start times', `${deadPid}`],
    ['nobody: an empty file', ''],
    ['nobody: a blank file', ' \n'],
    ['nobody: a text', 'hello'],
    ['process 0', '0'],
    ['a negative process, which would be a group', '-1'],
    ['a fraction of a process', '1.5'],
    ['a pid beyond all', '99999999999999999999'],
  ])('takes over the lock of %s', async (_, content) => {
    await writeFile(lockFile, content)

    await take()

    await expectOurs()
  })

  it('takes over a lock whose pid has come round again, as another process that started at another time', async () => {
    await writeFile(lockFile, `${process.ppid} 1`)

    await take()

    await expectOurs()
  })

  it('takes over a lock with the pid of this process, left by an earlier one', async () => {
    await writeFile(lockFile, `${process.pid} 1`)

    await take()

    await expectOurs()
  })

  it('leaves a lock alone that is refused', async () => {
    const holder = await startHolder()
    await holder.takes(folder, 1)
    const before = await readFile(lockFile, 'utf8')

    await lockFolder(folder).catch(() => undefined)

    expect(await readFile(lockFile, 'utf8')).toBe(before)
    expect(await filesBeside()).toEqual(['data.lock'])
  })

  it('says so when the folder cannot be there', async () => {
    await writeFile(join(parent, 'file'), '')

    await expect(lockFolder(join(parent, 'file', 'data'))).rejects.toThrow(/ENOTDIR|EEXIST/)
  })

  it('lets exactly one of twenty takers in five processes take over a stale lock, time after time', async () => {
    const processes = await Promise.all(Array.from({ length: 5 }, startHolder))
    const rounds = Array.from({ length: 40 }, (_, round) => join(parent, String(round), 'data'))

    const outcomes: string[][] = []
    for (const round of rounds) {
      await mkdir(join(round, '..'))
      await writeFile(`${round}.lock`, `${deadPid} 12345`)
      const taken = await Promise.all(processes.map((holder) => holder.takes(round, 4)))
      outcomes.push(taken.flat().toSorted())
    }
    const left = await Promise.all(rounds.map((round) => readdir(join(round, '..'))))

    expect(outcomes).toEqual(rounds.map(() => [...Array(19).fill('FolderLocked'), 'held']))
    expect(left).toEqual(rounds.map(() => ['data.lock']))
  })
})

/** The lock is held by this process, and nothing else is left. */
async function expectOurs() {
  const [pid] = (await readFile(lockFile, 'utf8')).split(' ')
  expect(pid).toBe(String(process.pid))
  expect(await filesBeside()).toEqual(['data.lock'])
}

/** Another process that takes locks as it is told, and holds them until it ends. */
class Holder {
  readonly #child: ChildProcess
  readonly #answers: AsyncIterator<string>

  private constructor(child: ChildProcess) {
    this.#child = child
    this.#answers = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  }

  /** Resolves when the process is ready to take locks. */
  static async start(): Promise<Holder> {
    const script = `
      import { createInterface } from 'node:readline'
      const { lockFolder } = await import(${JSON.stringify(new URL('../../src/db/lock.ts', import.meta.url).href)})
      console.log('ready')
      for await (const line of createInterface({ input: process.stdin })) {
        const { folder, takers } = JSON.parse(line)
        const outcomes = await Promise.all(
          Array.from({ length: takers }, () => lockFolder(folder).then(() => 'held', (error) => error.code ?? error.name)),
        )
        console.log(JSON.stringify(outcomes))
      }`
    const holder = new Holder(
      spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['pipe', 'pipe', 'inherit'] }),
    )
    expect(await holder.#answer()).toBe('ready')
    return holder
  }

  get pid(): number {
    return this.#child.pid!
  }

  /** Lets so many takers try at the same time; tells how each of them ended. */
  async takes(folder: string, takers: number): Promise<string[]> {
    this.#child.stdin!.write(`${JSON.stringify({ folder, takers })}\n`)
    return JSON.parse(await this.#answer())
  }

  async kill(): Promise<void> {
    await this.#ended(() => this.#child.kill('SIGKILL'))
  }

  async end(): Promise<void> {
    await this.#ended(() => this.#child.stdin!.end())
  }

  async #answer(): Promise<string> {
    const { value, done } = await this.#answers.next()
    if (done) throw new Error('the process ended without an answer')
    return value
  }

  #ended(end: () => void): Promise<void> {
    return new Promise((resolve) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) return resolve()
      this.#child.once('exit', () => resolve())
      end()
    })
  }
}
