import { createRequire } from 'node:module'
import { defineProject } from 'vitest/config'

const require = createRequire(new URL('../../package.json', import.meta.url))

export default defineProject({
  // The gateway and its tests have one graphql, and the supergraph, which is spoken to by HTTP, has another.
  resolve: { alias: [{ find: /^graphql$/, replacement: require.resolve('graphql') }] },
  test: {
    name: 'federation',
    include: ['*.test.ts'],
    provide: { engine: 'pglite' },
    // Apollo's gateway would look for a cloud around it, and tell Apollo of itself.
    env: { APOLLO_TELEMETRY_DISABLED: 'true' },
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
