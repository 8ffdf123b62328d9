import { mkdir, writeFile } from 'node:fs/promises'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { join } from 'node:path'
import type { Dataset } from './dataset.ts'
import { type Stack, versionsOf } from './stacks.ts'
import type { Bench } from './trial.ts'

/** All that figures are worthless without. */
export function describeRun(
  bench: Bench,
  postgres: string,
  data: Dataset | undefined,
  stacks: readonly Stack[],
  startedAt: Date,
) {
  return {
    startedAt: startedAt.toISOString(),
    seconds: Math.round((Date.now() - startedAt.getTime()) / 1000),
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown',
      cpus: cpus().length,
      memoryGb: Math.round(totalmem() / 2 ** 30),
      kernel: release(),
      /** Above the number of CPUs that the bench needs: something else was running. */
      loadAverage: loadavg()[0],
    },
    node: process.version,
    postgres,
    pinning: bench.cpus.note,
    effort: bench.effort,
    data: data?.size,
    stacks: stacks.map((stack) => ({
      name: stack.name,
      title: stack.title,
      settings: stack.settings,
      versions: versionsOf(stack),
    })),
  }
}

/** Writes a file among the results, and tells where. */
export async function writeResult(folder: string, name: string, content: unknown): Promise<string> {
  const path = join(folder, name)
  await mkdir(folder, { recursive: true })
  await writeFile(path, typeof content === 'string' ? content : `${JSON.stringify(content, precise, 2)}\n`)
  return path
}

/** Four digits are more than any of the figures has. */
const precise = (_key: string, value: unknown) =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value
