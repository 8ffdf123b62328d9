import type { Deadlines } from '../../src/db/client.ts'

/** For tests that are not about deadlines: none of theirs is to be missed on a loaded machine. */
export const testDeadlines: Deadlines = { connectionMs: 30_000, statementMs: 30_000 }
