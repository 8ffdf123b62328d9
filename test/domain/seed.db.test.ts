import { beforeAll, describe, expect, it } from 'vitest'
import { findContacts } from '../../src/domain/contacts.ts'
import { findAncestors } from '../../src/domain/organizations.ts'
import { plausibleOrganization } from '../../src/domain/plausible.ts'
import { sampleOrganizations } from '../../src/domain/sample.ts'
import { seedOrganizations } from '../../src/domain/seed.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { dataOf, executeFor } from '../support/graphql.ts'
import { unchanged } from '../support/state.ts'

const database = useDatabase()

describe('seeding', () => {
  beforeAll(async () => {
    await seedOrganizations(database.ctx, sampleOrganizations)
  })

  it('gives the sample the ids of its source', async () => {
    const found = await findContacts(database.ctx, [65, 66, 67, 68, 69, 70, 71])

    expect(found).toHaveLength(7)
    expect(found.map(({ organizationId }) => organizationId)).toEqual([1, 1, 1, 1, 1, 1, 1])
    expect(found.find(({ id }) => id === 68)).toMatchObject({ integration: true })
  })

  it('changes nothing the second time', async () => {
    const again = await unchanged(database, () => seedOrganizations(database.ctx, sampleOrganizations))

    expect(again).toEqual({ organizations: 0, contacts: 0 })
  })

  it('leaves the ids of the sample to it', async () => {
    const organization = await anOrganization(database.ctx)
    const contact = await aContact(database.ctx, organization.id)

    expect(organization.id).toBeGreaterThanOrEqual(1000)
    expect(contact.id).toBeGreaterThanOrEqual(1000)
  })

  it('fills another account with the same, apart from the first', async () => {
    const { db } = database
    const created = await seedOrganizations(database.otherCtx, sampleOrganizations)
    const answers = await Promise.all(
      [database.ctx, database.otherCtx].map((ctx) =>
        dataOf(executeFor(ctx)('{ organization(id: 1) { contacts { totalCount } } }')),
      ),
    )

    expect(created.contacts).toBe(sampleOrganizations.flatMap(({ contacts }) => contacts).length)
    expect(answers).toEqual([
      { organization: { contacts: { totalCount: 7 } } },
      { organization: { contacts: { totalCount: 7 } } },
    ])
    expect(db).toBe(database.db)
  })

  it('makes three levels of parents, and goes on where it was stopped', async () => {
    const seeds = Array.from({ length: 50 }, (_, i) => plausibleOrganization(i, 3))
    const first = await seedOrganizations(database.ctx, seeds.slice(0, 30))
    const second = await seedOrganizations(database.ctx, seeds)
    const { organizations } = await dataOf(
      executeFor(database.ctx)(
        '{ organizations(first: 100, filter: { source: "seed" }) { totalCount nodes { databaseId contacts { totalCount } } } }',
      ),
    )
    const ids = organizations.nodes.map(({ databaseId }: { databaseId: number }) => databaseId)
    const depths = (await findAncestors(database.ctx, ids)).map(({ length }) => length)

    expect([first, second]).toEqual([
      { organizations: 30, contacts: 90 },
      { organizations: 20, contacts: 60 },
    ])
    expect(organizations.totalCount).toBe(50)
    expect(
      new Set(organizations.nodes.map(({ contacts }: { contacts: { totalCount: number } }) => contacts.totalCount)),
    ).toEqual(new Set([3]))
    expect(new Set(depths)).toEqual(new Set([0, 1, 2]))
  })
})
