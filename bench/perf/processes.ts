import { readdirSync, readFileSync } from 'node:fs'

/** What a process and all beneath it have used. */
export interface Usage {
  /** Processor time, in milliseconds. */
  cpuMs: number
  /** Memory, in mebibytes: now, and at most (the peaks of the processes added up). */
  rssMb: number
  peakMb: number
  processes: number
}

/** The kernel counts processor time in ticks, on every Linux that Node runs on a hundred in a second. */
const msPerTick = 10

/** Reads `/proc`. Processes that have ended meanwhile are in what their parent waited for. */
export function usageOf(pid: number): Usage {
  const total = { cpuMs: 0, rssMb: 0, peakMb: 0, processes: 0 }
  const add = (id: number, isRoot: boolean) => {
    const own = readOrNothing(`/proc/${id}/stat`)
    if (own === undefined) {
      if (isRoot) throw new Error(`process ${id} has ended`)
      return
    }
    // The name before may hold blanks and parentheses.
    const fields = own.slice(own.lastIndexOf(')') + 2).split(' ')
    const [utime, stime, cutime, cstime] = fields.slice(11, 15).map(Number)
    total.cpuMs += (utime! + stime! + cutime! + cstime!) * msPerTick
    const status = readOrNothing(`/proc/${id}/status`) ?? ''
    total.rssMb += kilobytes(status, 'VmRSS') / 1024
    total.peakMb += kilobytes(status, 'VmHWM') / 1024
    total.processes += 1
    for (const child of childrenOf(id)) add(child, false)
  }
  add(pid, true)
  return total
}

const kilobytes = (status: string, field: string) =>
  Number(new RegExp(`^${field}:\\s*(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0)

function childrenOf(pid: number): number[] {
  const tasks = listOrNothing(`/proc/${pid}/task`)
  return tasks.flatMap((task) =>
    (readOrNothing(`/proc/${pid}/task/${task}/children`) ?? '').split(' ').filter(Boolean).map(Number),
  )
}

function readOrNothing(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function listOrNothing(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}
