import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { defineConfig } from 'vitest/config'

const require = createRequire(import.meta.url)

// Where a test runs is told by the end of its name:
//   *.test.ts      no database
//   *.db.test.ts   on every engine
//   *.pg.test.ts   on PostgreSQL only: many connections, processes, query plans
// The benches that break things (bench/faults, bench/histories) have tests of their own, and bring their own PostgreSQL.
const project = (name: string, include: string[], more: object = {}) => ({
  extends: true as const,
  test: { name, include, provide: { engine: name }, ...more },
})

// The clients of frontend teams, and the gateways of supergraphs, have packages of their own.
const apart = ['clients', 'federation']
const installed = apart.filter((name) => existsSync(new URL(`test/${name}/node_modules`, import.meta.url)))
for (const name of apart) {
  if (installed.includes(name)) continue
  console.log(`The tests of ${name} are left out: their packages come by npm --prefix test/${name} ci.`)
}

export default defineConfig({
  // graphql refuses to work with itself loaded twice, as a module of either kind.
  resolve: { alias: [{ find: /^graphql$/, replacement: require.resolve('graphql') }] },
  test: {
    testTimeout: 30_000,
    hookTimeout: 60_000,
    projects: [
      project('unit', ['test/**/*.test.ts'], {
        exclude: ['test/**/*.{db,pg}.test.ts', ...apart.map((name) => `test/${name}/**`)],
      }),
      // They measure how soon things happen, so nothing else runs beside them.
      project('bench', ['bench/{faults,histories,streams}/**/*.test.ts'], {
        fileParallelism: false,
        sequence: { groupOrder: 1 },
        testTimeout: 300_000,
      }),
      project('pglite', ['test/**/*.db.test.ts']),
      project('postgres', ['test/**/*.{db,pg}.test.ts'], { globalSetup: 'test/support/global-setup.ts' }),
      ...installed.map((name) => `test/${name}/vitest.config.ts`),
    ],
  },
})

declare module 'vitest' {
  interface ProvidedContext {
    engine: string
    /** Where a database can be made for each test file. */
    postgresUrl: string
  }
}
