import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Cleanup } from '../faults/cleanup.ts'
import { pinned } from './cpus.ts'
import type { LoadJob, LoadResult } from './load.ts'

/** The load generator, which is another process: it does one job at a time. */
export interface Loader {
  run(job: LoadJob): Promise<LoadResult>
}

const program = fileURLToPath(new URL('./load.ts', import.meta.url))

/** Starts the load generator on these CPUs. It ends with the cleanup. */
export function startLoader(cleanup: Cleanup, cpus: string | undefined): Loader {
  const [command, args] = pinned(cpus, process.execPath, [program])
  const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  cleanup.add(() => child.kill())
  return {
    run: (job) =>
      new Promise((resolve, reject) => {
        const onExit = () => reject(new Error('the load generator has ended'))
        child.once('exit', onExit)
        child.once('message', ({ result, failure }: { result?: LoadResult; failure?: string }) => {
          child.off('exit', onExit)
          if (result) resolve(result)
          else reject(new Error(failure))
        })
        child.send(job)
      }),
  }
}
