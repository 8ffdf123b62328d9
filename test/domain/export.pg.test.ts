import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Database } from '../../src/db/client.ts'
import { defineStatement, type Statement } from '../../src/db/statement.ts'
import type { Context } from '../../src/domain/context.ts'
import { exportContacts, exportOrganizations } from '../../src/domain/export.ts'
import { plausibleOrganization } from '../../src/domain/plausible.ts'
import { seedOrganizations } from '../../src/domain/seed.ts'
import { useDatabase } from '../support/database.ts'

const organizations = 15_000

// One connection, so that what one statement prepares is there for the next.
const database = useDatabase({ poolSize: 1 })
beforeAll(async () => {
  for (let next = 0; next < organizations; next += 500) {
    const seeds = Array.from({ length: 500 }, (_, i) => plausibleOrganization(next + i, 2))
    await seedOrganizations(database.ctx, seeds)
  }
  await database.db.run(defineStatement('test_analyze', sql`analyze`), {})
})

interface PlanNode {
  'Actual Rows': number
  'Actual Loops': number
  'Rows Removed by Filter'?: number
  Plans?: PlanNode[]
}

const nodesOf = (plan: PlanNode): PlanNode[] => [plan, ...(plan.Plans ?? []).flatMap(nodesOf)]

const rowsAt = (node: PlanNode) => (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops']

const runText = (text: string) =>
  database.db.run(
    { name: 'test', text, bind: () => [], row: ([cell]: [[{ Plan: PlanNode }]]) => cell, repeatable: true },
    {},
  )

/** For each statement of the read, the most rows that a node of its plan had to look at. The plan is one for any parameters. */
async function rowsLookedAt(read: (ctx: Context) => AsyncIterable<unknown>): Promise<number[]> {
  const most: number[] = []
  const explaining: Database = {
    ...database.db,
    async run<Parameters, Row>(statement: Statement<Parameters, Row>, parameters: Parameters) {
      const values = statement.bind(parameters).map((cell) => (cell === null ? 'null' : `'${cell}'`))
      await runText(`prepare test_plan as ${statement.text}`)
      const [plan] = await runText(`explain (analyze, format json) execute test_plan(${values.join()})`)
      await runText('deallocate test_plan')
      most.push(Math.max(...nodesOf(plan![0].Plan).map(rowsAt)))
      return database.db.run(statement, parameters)
    },
  }
  for await (const _ of read({ ...database.ctx, db: explaining }));
  return most
}

const pages = organizations / 250
const ids = Array.from({ length: 400 }, (_, i) => 1000 + i * 30)

describe('each page of an export costs as much as what is in it, to the last one', () => {
  it.each<[string, number, (ctx: Context) => AsyncIterable<unknown>]>([
    ['organizations', pages, (ctx) => exportOrganizations(ctx, {})],
    ['organizations of which all were changed', pages, (ctx) => exportOrganizations(ctx, { since: new Date(0) })],
    ['organizations that are named', 2, (ctx) => exportOrganizations(ctx, { organizations: ids })],
    ['contacts', 2 * pages, (ctx) => exportContacts(ctx, {})],
    ['contacts of which none was changed', 2 * pages, (ctx) => exportContacts(ctx, { since: new Date() })],
    ['contacts of organizations that are named', 4, (ctx) => exportContacts(ctx, { organizations: ids })],
  ])('%s', async (_, statements, read) => {
    const most = await rowsLookedAt(read)

    expect(most).toHaveLength(statements)
    // 250 organizations with two contacts each, or those that are named.
    expect(Math.max(...most)).toBeLessThanOrEqual(500)
  })

  it('contacts of an organization that has very many', async () => {
    const contacts = Array.from({ length: 10_000 }, (_, i) => ({
      channel: 'email' as const,
      label: 'general' as const,
      value: `info${i}@best-it.com`,
    }))
    await seedOrganizations(database.otherCtx, [{ name: 'Best IT', contacts }])

    const most = await rowsLookedAt((ctx) => exportContacts({ ...ctx, account: database.otherCtx.account }, {}))

    // The name, the first hundred, and the others by up to 2,500, of which one more tells that there are others.
    expect(most).toHaveLength(2 + 4)
    expect(Math.max(...most)).toBeLessThanOrEqual(2_501)
  })
})
