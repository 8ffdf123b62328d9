import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { createPostgresDatabase } from '../support/database.ts'
import { useGateways } from '../support/gateway.ts'

// Each test starts processes, and other test files keep the machine busy meanwhile.
vi.setConfig({ testTimeout: 120_000 })

const gateways = useGateways()
const preload = new URL('../support/loaded-modules.ts', import.meta.url).href

async function emptyDatabase() {
  const { url, drop } = await createPostgresDatabase()
  onTestFinished(drop)
  return url
}

/** The packages of which a gateway has loaded anything, from its start to its end. */
async function packagesOf(env: Record<string, string>): Promise<Set<string>> {
  const LOADED_MODULES = join(await gateways.folder(), 'modules')
  const { gateway } = await gateways.serve({ env: { ...env, LOADED_MODULES }, nodeOptions: ['--import', preload] })
  expect(await gateway.stop()).toMatchObject({ code: 0 })
  const modules = await readFile(LOADED_MODULES, 'utf8')
  return new Set(Array.from(modules.matchAll(/.*\/node_modules\/((?:@[^/\n]+\/)?[^/\n]+)/g), ([, name]) => name!))
}

it('a gateway on PostgreSQL has loaded nothing of what nobody asked for', async () => {
  const packages = await packagesOf({ DATABASE_URL: await emptyDatabase(), AUTH: 'token' })

  expect([...packages]).toEqual(expect.arrayContaining(['postgres', 'drizzle-orm', 'graphql-yoga']))
  expect(
    [...packages].filter((name) =>
      /pglite|opentelemetry|graphiql|^jose$|prom-client|^ws$|^graphql-ws$|playwright|vitest/.test(name),
    ),
  ).toEqual([])
})

it('a gateway loads what it is told to use', async () => {
  const packages = await packagesOf({
    DATABASE_URL: await emptyDatabase(),
    METRICS_PORT: '0',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
  })

  expect([...packages]).toEqual(expect.arrayContaining(['prom-client', '@opentelemetry/sdk-trace']))
})

it('an idle gateway with everything switched on takes less than 200 MB of memory', async () => {
  const { gateway } = await gateways.serve({
    env: { DATABASE_URL: await emptyDatabase(), AUTH: 'token', METRICS_PORT: '0' },
  })
  const [, address] = await gateway.printed(/metrics at (http:\S+)\./)

  const metrics = await (await fetch(address!)).text()

  const [, bytes] = /^process_resident_memory_bytes (\d+)$/m.exec(metrics)!
  expect(Number(bytes)).toBeLessThan(200_000_000)
})
