import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { TestProject } from 'vitest/node'
import { generate } from './generate.ts'

const program = fileURLToPath(new URL('../../../bin/gateway.js', import.meta.url))

declare module 'vitest' {
  interface ProvidedContext {
    /** The address of GraphQL at a gateway with the sample. Tests change only what they have made. */
    gatewayUrl: string
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  await generate()
  const folder = await mkdtemp(join(tmpdir(), 'contacts-gateway-clients-'))
  const gateway = spawn(process.execPath, [program], {
    cwd: folder,
    env: { PATH: process.env.PATH, PORT: '0', LOG_LEVEL: 'warn', MAX_EVENT_LOOP_DELAY: '60000' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = new Promise((resolve) => gateway.once('exit', resolve))
  const stop = async () => {
    gateway.kill()
    await exited
    await rm(folder, { recursive: true, force: true })
  }
  try {
    project.provide('gatewayUrl', await addressOf(gateway.stdout))
  } catch (error) {
    await stop()
    throw error
  }
  return stop
}

async function addressOf(stdout: NodeJS.ReadableStream): Promise<string> {
  for await (const line of createInterface({ input: stdout })) {
    const url = /ready: (http:\/\/\S+)/.exec(line)?.[1]
    if (url) {
      stdout.resume()
      return url
    }
  }
  throw new Error('The gateway ended before it served.')
}
