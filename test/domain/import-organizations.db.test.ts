import { describe, expect, it } from 'vitest'
import { allPermissions } from '../../src/domain/context.ts'
import { ForbiddenError } from '../../src/domain/errors.ts'
import { encodeId } from '../../src/domain/ids.ts'
import {
  faultsOfOrganization,
  importOrganizations,
  type OrganizationImport,
} from '../../src/domain/import-organizations.ts'
import {
  createOrganization,
  findAncestors,
  findOrganizations,
  type Organization,
} from '../../src/domain/organizations.ts'
import { useDatabase } from '../support/database.ts'
import { anOrganization } from '../support/factory.ts'
import { dataOf, executeFor } from '../support/graphql.ts'
import { unchanged } from '../support/state.ts'

const database = useDatabase()

let made = 0
/** Names that no other test has, by the letters that stand for them. */
const names = () => {
  made += 1
  const family = made
  return (letter: string) => `${letter} of import ${family}`
}

const refused = <Result>(attempt: () => Promise<Result>) => unchanged(database, attempt)

/** Tells first what it would do, and holds that nothing was done by that. */
async function importTwice(organizations: readonly object[]): Promise<OrganizationImport[]> {
  const told = await refused(() => importOrganizations(database.ctx, organizations, { isDry: true }))
  const done = await importOrganizations(database.ctx, organizations)
  expect(told).toEqual(done)
  return done
}

const find = async (name: string, ctx = database.ctx): Promise<Organization | undefined> => {
  const { organizations } = await dataOf(
    executeFor(ctx)(
      'query($name: String) { organizations(filter: { namePrefix: $name }) { nodes { databaseId name } } }',
      {
        name,
      },
    ),
  )
  const exact = organizations.nodes.find((node: { name: string }) => node.name === name)
  return exact && (await findOrganizations(ctx, [exact.databaseId]))[0]
}

/** From the root down to the organization itself. */
const pathTo = async (name: string): Promise<string[]> => {
  const { id } = (await find(name))!
  const [ancestors] = await findAncestors(database.ctx, [id])
  return [...ancestors!.map((ancestor) => ancestor.name), name]
}

/** A tree of stored organizations, each beneath the one before. */
const chainOf = async (...chain: string[]): Promise<Organization[]> => {
  const created: Organization[] = []
  for (const name of chain) {
    created.push(await createOrganization(database.ctx, { name, parentId: created.at(-1)?.id }))
  }
  return created
}

describe('organizations that are not there', () => {
  it('are created with all that is told of them', async () => {
    const n = names()
    const outcomes = await importTwice([
      { name: ` ${n('A')} `, disabled: true, source: 'HR', sourceID: '7', parent: null },
      { name: n('B') },
    ])

    expect(outcomes).toEqual(['created', 'created'])
    expect(await find(n('A'))).toMatchObject({ disabled: true, source: 'HR', sourceId: '7', parentId: null })
    expect(await find(n('B'))).toMatchObject({ disabled: false, source: null, sourceId: null, parentId: null })
  })

  it.each([
    ['from the root', ['A', 'B', 'C', 'D']],
    ['from the leaves', ['D', 'C', 'B', 'A']],
    ['in any order', ['C', 'A', 'D', 'B']],
  ])('are a tree, %s', async (_, order) => {
    const n = names()
    const parents: Record<string, string | null> = { A: null, B: 'A', C: 'B', D: 'B' }
    const outcomes = await importTwice(
      order.map((letter) => ({ name: n(letter), parent: parents[letter] && n(parents[letter]) })),
    )

    expect(outcomes).toEqual(order.map(() => 'created'))
    expect(await pathTo(n('C'))).toEqual(['A', 'B', 'C'].map(n))
    expect(await pathTo(n('D'))).toEqual(['A', 'B', 'D'].map(n))
  })

  it('are put beneath what is there', async () => {
    const n = names()
    await chainOf(n('A'), n('B'))
    const outcomes = await importTwice([
      { name: n('D'), parent: n('C') },
      { name: n('C'), parent: n('B') },
    ])

    expect(outcomes).toEqual(['created', 'created'])
    expect(await pathTo(n('D'))).toEqual(['A', 'B', 'C', 'D'].map(n))
  })

  it('are created in the other account, too, where only this one has the name', async () => {
    const n = names()
    await anOrganization(database.otherCtx, { name: n('A'), source: 'theirs', sourceID: '1' })
    const before = await find(n('A'), database.otherCtx)
    const outcomes = await importTwice([{ name: n('A'), disabled: true }])

    expect(outcomes).toEqual(['created'])
    expect((await find(n('A')))!.id).not.toBe(before!.id)
    expect(await find(n('A'), database.otherCtx)).toEqual(before)
  })
})

describe('organizations that are there', () => {
  it('are found by their name', async () => {
    const n = names()
    const [a] = await chainOf(n('A'))
    const outcomes = await importTwice([{ name: n('A'), disabled: true, source: 'HR', sourceID: '7' }])

    expect(outcomes).toEqual(['updated'])
    expect(await find(n('A'))).toMatchObject({ id: a!.id, disabled: true, source: 'HR', sourceId: '7' })
  })

  it('are found by their id, and take the name', async () => {
    const n = names()
    const [a, b] = await chainOf(n('A'), n('B'))
    const outcomes = await importTwice([
      { id: String(a!.id), name: n('C') },
      { id: encodeId('Organization', b!.id), name: n('D'), parent: n('C') },
    ])

    expect(outcomes).toEqual(['updated', 'updated'])
    expect(await find(n('C'))).toMatchObject({ id: a!.id })
    expect(await find(n('D'))).toMatchObject({ id: b!.id, parentId: a!.id })
  })

  it('keep what is not told, and lose what is null', async () => {
    const n = names()
    const [a, b] = await chainOf(n('A'), n('B'))
    await importOrganizations(database.ctx, [{ name: n('B'), disabled: true, source: 'HR', sourceID: '7' }])
    const kept = await importTwice([{ name: n('B'), sourceID: '8' }])
    const afterwards = await find(n('B'))
    const lost = await importTwice([{ name: n('B'), source: null, sourceID: null, parent: null, disabled: null }])

    expect([kept, lost]).toEqual([['updated'], ['updated']])
    expect(afterwards).toMatchObject({ id: b!.id, parentId: a!.id, disabled: true, source: 'HR', sourceId: '8' })
    expect(await find(n('B'))).toMatchObject({ parentId: null, disabled: true, source: null, sourceId: null })
  })

  it('are moved with all that is beneath them', async () => {
    const n = names()
    await chainOf(n('A'), n('B'), n('C'))
    await chainOf(n('X'))
    const outcomes = await importTwice([{ name: n('B'), parent: n('X') }])

    expect(outcomes).toEqual(['updated'])
    expect(await pathTo(n('C'))).toEqual(['X', 'B', 'C'].map(n))
  })

  it.each([
    ['the parent first', [0, 1]],
    ['the child first', [1, 0]],
  ])('change places with their parent, %s', async (_, order) => {
    const n = names()
    await chainOf(n('A'), n('B'), n('C'))
    const moves = [
      { name: n('A'), parent: n('B') },
      { name: n('B'), parent: null },
    ]
    const outcomes = await importTwice(order.map((i) => moves[i]!))

    expect(outcomes).toEqual(['updated', 'updated'])
    expect(await pathTo(n('A'))).toEqual(['B', 'A'].map(n))
    expect(await pathTo(n('C'))).toEqual(['B', 'C'].map(n))
  })

  it('turn a chain upside down', async () => {
    const n = names()
    const letters = ['A', 'B', 'C', 'D', 'E']
    await chainOf(...letters.map(n))
    const outcomes = await importTwice(
      letters.map((letter, i) => ({ name: n(letter), parent: letters[i + 1] ? n(letters[i + 1]!) : null })),
    )

    expect(outcomes).toEqual(letters.map(() => 'updated'))
    expect(await pathTo(n('A'))).toEqual(letters.toReversed().map(n))
  })

  it('are left alone where nothing is to change', async () => {
    const n = names()
    await chainOf(n('A'), n('B'))
    const given = [
      { name: n('B'), parent: n('A'), disabled: false, source: null, sourceID: null },
      { name: n('A'), parent: null },
    ]

    expect(await refused(() => importOrganizations(database.ctx, given))).toEqual(['unchanged', 'unchanged'])
  })

  it('are the same the second time, and not a row is written', async () => {
    const n = names()
    const given = [
      { name: n('C'), parent: n('B'), source: 'HR', sourceID: '3' },
      { name: n('B'), parent: n('A'), disabled: true },
      { name: n('A') },
    ]
    const first = await importTwice(given)
    const again = await refused(() => importTwice(given))

    expect([first, again]).toEqual([given.map(() => 'created'), given.map(() => 'unchanged')])
  })
})

describe('an organization is refused, and the others are not,', () => {
  /** Imports beside a good one; the refused ones must be as they were. */
  async function beside(organizations: readonly object[], stored: readonly string[] = []) {
    const n = names()
    const before = await Promise.all(stored.map((name) => find(name)))
    const [good, ...outcomes] = await importTwice([{ name: n('good') }, ...organizations])

    expect(good).toBe('created')
    expect(await Promise.all(stored.map((name) => find(name)))).toEqual(before)
    return outcomes
  }
  const above = ['An organization above it was refused.']

  it('where it is wrong by itself, with every reason', async () => {
    const n = names()
    const faulty = {
      id: 'x',
      name: ' ',
      parent: '',
      disabled: 'no',
      source: 'S'.repeat(31),
      sourceID: 'a\0',
    }
    const reasons = [
      'ID "x" is neither a global id nor a positive integer.',
      "Name can't be blank.",
      "Parent Organization can't be blank.",
      'Disabled must be true or false.',
      'Source is too long: 31 characters, at most 30 are allowed.',
      'Source ID holds the control character U+0000.',
    ]

    expect(await beside([faulty, { name: n('A') }])).toEqual([reasons, 'created'])
    expect(faultsOfOrganization(faulty)).toEqual(reasons)
    expect(faultsOfOrganization({ name: n('A') })).toEqual([])
  })

  it('where its id names none, or one of another account', async () => {
    const n = names()
    const theirs = await anOrganization(database.otherCtx, { name: n('theirs') })
    const outcomes = await beside([
      { id: 999_999, name: n('A') },
      { id: theirs.id, name: n('B'), disabled: true },
    ])

    expect(outcomes).toEqual([
      ['There is no organization with the ID 999999 in the account.'],
      [`There is no organization with the ID ${theirs.id} in the account.`],
    ])
    expect(await findOrganizations(database.otherCtx, [theirs.id])).toEqual([theirs])
  })

  it('where its parent is not there, or is of another account', async () => {
    const n = names()
    await anOrganization(database.otherCtx, { name: n('theirs') })
    await chainOf(n('A'))
    const outcomes = await beside(
      [
        { name: n('A'), parent: n('nobody') },
        { name: n('B'), parent: n('theirs') },
      ],
      [n('A'), n('B')],
    )

    expect(outcomes).toEqual([
      [expect.stringContaining(`There is no parent organization "${n('nobody')}"`)],
      [expect.stringContaining(`There is no parent organization "${n('theirs')}"`)],
    ])
  })

  it('where another one has its name', async () => {
    const n = names()
    const [a] = await chainOf(n('A'))
    await chainOf(n('B'))
    const outcomes = await beside([{ id: a!.id, name: n('B') }], [n('A'), n('B')])

    expect(outcomes).toEqual([[`Name "${n('B')}" has already been taken.`]])
  })

  it('where it is named twice: by its name, or by its id and its name', async () => {
    const n = names()
    const [a] = await chainOf(n('A'))
    const outcomes = await beside([
      { name: n('B'), disabled: true },
      { name: n('B') },
      { id: a!.id, name: n('C') },
      { name: n('A') },
      { id: a!.id, name: n('D') },
    ])

    expect(outcomes).toEqual([
      'created',
      [`The organization "${n('B')}" is named twice.`],
      'updated',
      [`The organization "${n('A')}" is named twice.`],
      [`The organization "${n('D')}" is named twice.`],
    ])
    expect(await find(n('B'))).toMatchObject({ disabled: true })
    expect(await find(n('C'))).toMatchObject({ id: a!.id })
  })

  it('where it is named twice, whatever the second has for a parent', async () => {
    const n = names()
    await chainOf(n('A'))
    await chainOf(n('P'))
    const outcomes = await beside([
      { name: n('A'), parent: n('P') },
      { name: n('A'), parent: n('A') },
      { name: n('B'), parent: n('A') },
    ])

    expect(outcomes).toEqual(['updated', [`The organization "${n('A')}" is named twice.`], 'created'])
    expect(await pathTo(n('B'))).toEqual(['P', 'A', 'B'].map(n))
  })

  it('where it would be beneath itself', async () => {
    const n = names()
    await chainOf(n('A'), n('B'), n('C'))
    const outcomes = await beside(
      [
        { name: n('A'), parent: n('C') },
        { name: n('N'), parent: n('N') },
      ],
      [n('A'), n('N')],
    )

    expect(outcomes).toEqual([
      [expect.stringContaining('is the organization itself or one of its descendants.')],
      [expect.stringContaining('is the organization itself or one of its descendants.')],
    ])
    expect(await pathTo(n('C'))).toEqual(['A', 'B', 'C'].map(n))
  })

  it.each([2, 3, 5])('where %i of them would form a ring', async (length) => {
    const n = names()
    const ring = Array.from({ length }, (_, i) => n(`R${i}`))
    const outcomes = await beside(
      ring.map((name, i) => ({ name, parent: ring[(i + 1) % length]! })),
      ring,
    )

    expect(outcomes).toEqual(ring.map(() => [expect.stringContaining('is the organization itself')]))
  })

  it('where those that move would form a ring with those that stay', async () => {
    const n = names()
    await chainOf(n('A'), n('B'))
    await chainOf(n('C'), n('D'))
    const outcomes = await beside(
      [
        { name: n('A'), parent: n('D') },
        { name: n('C'), parent: n('B') },
      ],
      ['A', 'B', 'C', 'D'].map(n),
    )

    expect(outcomes).toEqual([
      [expect.stringContaining('is the organization itself')],
      [expect.stringContaining('is the organization itself')],
    ])
  })

  it('where one above it is refused, however far', async () => {
    const n = names()
    const outcomes = await beside(
      [
        { name: n('D'), parent: n('C') },
        { name: n('C'), parent: n('B') },
        { name: n('B'), parent: n('A') },
        { name: n('A'), parent: n('nobody') },
        { name: n('E'), parent: n('A') },
      ],
      ['A', 'B', 'C', 'D', 'E'].map(n),
    )

    expect(outcomes).toEqual([above, above, above, [expect.stringContaining('There is no parent organization')], above])
  })

  it('where one above it is refused, with stored ones between', async () => {
    const n = names()
    await chainOf(n('A'), n('B'))
    const outcomes = await beside(
      [
        { name: n('A'), parent: n('nobody') },
        { name: n('C'), parent: n('B') },
      ],
      ['A', 'B', 'C'].map(n),
    )

    expect(outcomes).toEqual([[expect.stringContaining('There is no parent organization')], above])
  })

  it('where it would be above what cannot leave: a refused move does not make a ring', async () => {
    const n = names()
    const [, b] = await chainOf(n('A'), n('B'))
    await chainOf(n('taken'))
    const outcomes = await beside(
      [
        { id: b!.id, name: n('taken'), parent: null },
        { name: n('A'), parent: n('B') },
      ],
      ['A', 'B', 'taken'].map(n),
    )

    expect(outcomes).toEqual([[`Name "${n('taken')}" has already been taken.`], above])
    expect(await pathTo(n('B'))).toEqual(['A', 'B'].map(n))
  })

  it('where one beneath a ring would be', async () => {
    const n = names()
    const outcomes = await beside(
      [
        { name: n('A'), parent: n('B') },
        { name: n('B'), parent: n('A') },
        { name: n('C'), parent: n('B') },
      ],
      ['A', 'B', 'C'].map(n),
    )

    expect(outcomes).toEqual([
      [expect.stringContaining('is the organization itself')],
      [expect.stringContaining('is the organization itself')],
      above,
    ])
  })

  it('but not where it only stays beneath one that is refused', async () => {
    const n = names()
    const [a] = await chainOf(n('A'), n('B'))
    await chainOf(n('taken'))
    const outcomes = await beside(
      [
        { id: a!.id, name: n('taken') },
        { name: n('B'), parent: n('A'), disabled: true },
      ],
      [n('A')],
    )

    expect(outcomes).toEqual([[`Name "${n('taken')}" has already been taken.`], 'updated'])
  })
})

describe('importing organizations', () => {
  it('does nothing where there are none, or none that can be', async () => {
    expect(await refused(() => importOrganizations(database.ctx, []))).toEqual([])
    expect(await refused(() => importOrganizations(database.ctx, [{ name: '' }]))).toEqual([["Name can't be blank."]])
  })

  it('takes one statement', async () => {
    const n = names()
    database.takeStatements()
    await importOrganizations(database.ctx, [{ name: n('A') }, { name: n('B'), parent: n('A') }])

    expect(database.takeStatements()).toHaveLength(1)
  })

  it('needs the permission to write organizations', async () => {
    const permissions = new Set([...allPermissions].filter((name) => name !== 'organizations:write'))
    const attempt = refused(() => importOrganizations({ ...database.ctx, permissions }, [{ name: names()('A') }]))

    await expect(attempt).rejects.toThrow(ForbiddenError)
  })
})
