import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Database } from '../../src/db/client.ts'
import { defineStatement, type Statement } from '../../src/db/statement.ts'
import {
  contactPages,
  contactSummaryPages,
  countContacts,
  countContactsOf,
  countFound,
  searchContacts,
} from '../../src/domain/contact-lists.ts'
import { findContacts } from '../../src/domain/contacts.ts'
import type { Context } from '../../src/domain/context.ts'
import { childPages, countChildren, countOrganizations, organizationPage } from '../../src/domain/organization-lists.ts'
import { findAncestors, findOrganizations } from '../../src/domain/organizations.ts'
import type { PageRequest } from '../../src/domain/page.ts'
import { plausibleOrganization } from '../../src/domain/plausible.ts'
import { seedOrganizations } from '../../src/domain/seed.ts'
import { useDatabase } from '../support/database.ts'

const database = useDatabase({ poolSize: 1 })
beforeAll(async () => {
  // As many as it takes for the planner to see that an index is worth it.
  for (let next = 0; next < 15_000; next += 500) {
    const seeds = Array.from({ length: 500 }, (_, i) => plausibleOrganization(next + i, 2))
    await seedOrganizations(database.ctx, seeds)
  }
  await database.db.run(defineStatement('test_analyze', sql`analyze`), {})
})

interface PlanNode {
  'Node Type': string
  'Relation Name'?: string
  Plans?: PlanNode[]
}

const nodesOf = (plan: PlanNode): PlanNode[] => [plan, ...(plan.Plans ?? []).flatMap(nodesOf)]

/** Runs a statement without parameters; there is one connection, so that what one of them prepares is there for the next. */
const runText = (text: string) =>
  database.db.run(
    { name: 'test', text, bind: () => [], row: ([cell]: [[{ Plan: PlanNode }]]) => cell, repeatable: true },
    {},
  )

/** The kinds of nodes in the plans of all statements that the read runs. Connections ask for plans for any parameters. */
async function plansOf(read: (ctx: Context) => Promise<unknown>): Promise<string[]> {
  const kinds: string[] = []
  const explaining: Database = {
    ...database.db,
    async run<Parameters, Row>(statement: Statement<Parameters, Row>, parameters: Parameters) {
      const places = Math.max(0, ...[...statement.text.matchAll(/\$(\d+)/g)].map(([, place]) => Number(place)))
      const given = places > 0 ? `(${Array(places).fill('null').join()})` : ''
      await runText(`prepare test_plan as ${statement.text}`)
      const [plan] = await runText(`explain (format json) execute test_plan${given}`)
      await runText('deallocate test_plan')
      kinds.push(...nodesOf(plan![0].Plan).map((node) => node['Node Type']))
      return database.db.run(statement, parameters)
    },
  }
  await read({ ...database.ctx, db: explaining })
  return kinds
}

const forward: PageRequest = { limit: 50, backward: false, after: null, before: null }
const pages: [string, PageRequest][] = [
  ['the first page', forward],
  ['the last page', { ...forward, backward: true }],
]
const organizations = (page: PageRequest, filter = {}) => ({ page, field: 'NAME' as const, descending: false, filter })

describe('reads use an index, and no sort', () => {
  it.each([
    ...pages.map(
      ([name, page]) =>
        [`organizations, ${name}`, (ctx: Context) => organizationPage(ctx, organizations(page))] as const,
    ),
    [
      'organizations, a page in the middle',
      (ctx: Context) => organizationPage(ctx, organizations({ ...forward, after: ['Maple'] })),
    ],
    ['organizations at the root', (ctx: Context) => organizationPage(ctx, organizations(forward, { root: true }))],
    [
      'organizations at the root, a page in the middle',
      (ctx: Context) => organizationPage(ctx, organizations({ ...forward, after: ['Maple'] }, { root: true })),
    ],
    [
      'organizations that begin with a text',
      (ctx: Context) => organizationPage(ctx, organizations(forward, { namePrefix: 'Maple' })),
    ],
    ['how many organizations begin with a text', (ctx: Context) => countOrganizations(ctx, { namePrefix: 'Maple' })],
    [
      'organizations, newest first, a page in the middle',
      (ctx: Context) =>
        organizationPage(ctx, {
          ...organizations({ ...forward, after: ['2026-11-24T09:30:00.000Z', 1000] }),
          field: 'CREATED_AT',
          descending: true,
        }),
    ],
    [
      'organizations, newest first',
      (ctx: Context) => organizationPage(ctx, { ...organizations(forward), field: 'CREATED_AT', descending: true }),
    ],
    [
      'organizations, last changed first',
      (ctx: Context) => organizationPage(ctx, { ...organizations(forward), field: 'UPDATED_AT', descending: true }),
    ],
    ...pages.map(
      ([name, page]) =>
        [`children, ${name}`, (ctx: Context) => childPages(ctx, [1000, 1025, 1050], organizations(page))] as const,
    ),
    [
      'children, a page in the middle',
      (ctx: Context) => childPages(ctx, [1000, 1025, 1050], organizations({ ...forward, after: ['Maple'] })),
    ],
    ['how many children there are', (ctx: Context) => countChildren(ctx, [1000, 1025, 1050], {})],
    ...pages.flatMap(
      ([name, page]) =>
        [
          [`contacts, ${name}`, (ctx: Context) => contactPages(ctx, [1000, 1001, 1002], page, {})],
          [`summaries of contacts, ${name}`, (ctx: Context) => contactSummaryPages(ctx, [1000, 1001], page, {})],
        ] as const,
    ),
    [
      'contacts under all filters',
      (ctx: Context) =>
        contactPages(ctx, [1000, 1001], forward, { channels: ['email'], labels: ['general'], integration: false }),
    ],
    ['how many contacts there are', (ctx: Context) => countContacts(ctx, [1000, 1001], {})],
    ['how many contacts an organization has, if there is one', (ctx: Context) => countContactsOf(ctx, 1000, {})],
    [
      'contacts, after a cursor',
      (ctx: Context) => contactPages(ctx, [1000], { ...forward, after: ['email', 'general', 1] }, {}),
    ],
    [
      'the reverse look-up',
      (ctx: Context) => searchContacts(ctx, { channel: 'telephone', key: '12125552222' }, forward),
    ],
    [
      'the reverse look-up after a cursor',
      (ctx: Context) =>
        searchContacts(ctx, { channel: 'email', key: 'info@org1.example.com' }, { ...forward, after: [1] }),
    ],
    [
      'how many are found by the reverse look-up',
      (ctx: Context) => countFound(ctx, { channel: 'telephone', key: '12125552222' }),
    ],
    ['organizations by id', (ctx: Context) => findOrganizations(ctx, [1000, 1001])],
    ['contacts by id', (ctx: Context) => findContacts(ctx, [1000, 1001])],
  ] as [string, (ctx: Context) => Promise<unknown>][])('%s', async (_, read) => {
    const kinds = await plansOf(read)

    expect(kinds.some((kind) => kind.startsWith('Index'))).toBe(true)
    expect(kinds.filter((kind) => kind === 'Seq Scan' || kind.includes('Sort'))).toEqual([])
  })

  it('ancestors are sorted by their distance, but only those that were found', async () => {
    const kinds = await plansOf((ctx) => findAncestors(ctx, [1005, 1030]))

    expect(kinds).toContain('Index Scan')
    expect(kinds).not.toContain('Seq Scan')
  })
})
