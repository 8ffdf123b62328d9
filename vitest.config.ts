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

export default defineConfig({
  // graphql refuses to work with itself loaded twice, as a module of either kind.
  resolve: { alias: [{ find: /^graphql$/, replacement: require.resolve('graphql') }] },
  test: {
    testTimeout: 30_000,
    hookTimeout: 60_000,
    projects: [
      project('unit', ['test/**/*.test.ts'], { exclude: ['test/**/*.{db,pg}.test.ts'] }),
      // They measure how soon things happen, so nothing else runs beside them.
      project('bench', ['bench/{faults,histories}/**/*.test.ts'], {
        fileParallelism: false,
        sequence: { groupOrder: 1 },
        testTimeout: 300_000,
      }),
      project('pglite', ['test/**/*.db.test.ts']),
      project('postgres', ['test/**/*.{db,pg}.test.ts'], { globalSetup: 'test/support/global-setup.ts' }),
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
