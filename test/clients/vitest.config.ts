import { defineProject } from 'vitest/config'
import { relay } from './support/relay-plugin.ts'

export default defineProject({
  plugins: [relay],
  test: {
    name: 'clients',
    include: ['*.test.ts'],
    globalSetup: './support/global-setup.ts',
    testTimeout: 60_000,
  },
})
