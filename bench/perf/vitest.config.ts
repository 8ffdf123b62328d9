import { defineConfig } from 'vitest/config'

/** The tests of what measures: `npm --prefix bench run check`. */
export default defineConfig({ test: { root: import.meta.dirname, include: ['**/*.test.ts'] } })
