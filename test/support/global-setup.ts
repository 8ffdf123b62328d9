import type { TestProject } from 'vitest/node'
import { startPostgres } from './postgres-server.ts'

/** Brings PostgreSQL for the tests that need one: the one of TEST_DATABASE_URL, or one of its own. */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const given = process.env.TEST_DATABASE_URL
  if (given) {
    project.provide('postgresUrl', given)
    return
  }
  const server = await startPostgres()
  project.provide('postgresUrl', server.url)
  return () => server.stop()
}
