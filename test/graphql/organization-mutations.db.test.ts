import { beforeAll, describe, expect, it } from 'vitest'
import { encodeId } from '../../src/domain/ids.ts'
import { updateOrganization } from '../../src/domain/organizations.ts'
import { useDatabase } from '../support/database.ts'
import { anOrganization } from '../support/factory.ts'
import { type Execute, executeFor, resultOf } from '../support/graphql.ts'
import { unchanged } from '../support/state.ts'

const database = useDatabase()
let execute: Execute
let executeAsOther: Execute
beforeAll(() => {
  execute = executeFor(database.ctx)
  executeAsOther = executeFor(database.otherCtx)
})

const fields = `
  __typename
  ... on UserError { message code path }
  ... on ValidationError { issues { path code message } }`
const shown = 'organization { databaseId name disabled source sourceID parent { databaseId } }'

const create = (input: object, as = execute) =>
  resultOf(
    as(
      `mutation($input: CreateOrganizationInput!) { createOrganization(input: $input) { ${fields} ... on CreateOrganizationSuccess { ${shown} } } }`,
      { input },
    ),
  )
const update = (input: object, as = execute) =>
  resultOf(
    as(
      `mutation($input: UpdateOrganizationInput!) { updateOrganization(input: $input) { ${fields} ... on UpdateOrganizationSuccess { ${shown} } } }`,
      { input },
    ),
  )
const refused = <Result>(attempt: () => Promise<Result>) => unchanged(database, attempt)

const taken = { path: ['name'], code: 'TAKEN', message: 'Name has already been taken.' }

describe('createOrganization', () => {
  it('creates one at the root, with the least that is needed', async () => {
    const { organization } = await create({ name: '  Kestrel  ' })

    expect(organization).toEqual({
      databaseId: expect.any(Number),
      name: 'Kestrel',
      disabled: false,
      source: null,
      sourceID: null,
      parent: null,
    })
  })

  it('creates one beneath another, with all that it can have', async () => {
    const parent = await anOrganization(database.ctx)
    const { organization } = await create({
      name: 'Kestrel East',
      parentId: encodeId('Organization', parent.id),
      disabled: true,
      source: 'HR',
      sourceID: 'K-7',
    })

    expect(organization).toMatchObject({
      name: 'Kestrel East',
      disabled: true,
      source: 'HR',
      sourceID: 'K-7',
      parent: { databaseId: parent.id },
    })
  })

  it('refuses a name that another has, also a disabled one', async () => {
    const { name } = await anOrganization(database.ctx, { disabled: true })
    const result = await refused(() => create({ name: ` ${name} ` }))

    expect(result).toMatchObject({ __typename: 'ValidationError', path: ['name'], issues: [taken] })
  })

  it('may have the name that one of another account has', async () => {
    const { name } = await anOrganization(database.otherCtx)

    expect(await create({ name })).toMatchObject({ __typename: 'CreateOrganizationSuccess', organization: { name } })
  })

  it('finds no parent where there is none, nor one of another account', async () => {
    const foreign = await anOrganization(database.otherCtx)
    const results = [
      await refused(() => create({ name: 'Orphan', parentId: 999_999 })),
      await refused(() => create({ name: 'Orphan', parentId: foreign.id })),
    ]

    for (const result of results) {
      expect(result).toEqual({
        __typename: 'NotFoundError',
        message: 'Organization not found.',
        code: 'NOT_FOUND',
        path: ['parentId'],
      })
    }
  })

  it('tells everything that is wrong at once', async () => {
    const result = await refused(() =>
      create({ name: 'x'.repeat(129), parentId: 'x', source: 's'.repeat(31), sourceID: '\u0000' }),
    )

    expect(result.issues).toEqual([
      { path: ['name'], code: 'TOO_LONG', message: 'Name is too long: 129 characters, at most 128 are allowed.' },
      {
        path: ['parentId'],
        code: 'INVALID_ID',
        message: 'Parent id "x" is neither a global id nor a positive integer.',
      },
      { path: ['source'], code: 'TOO_LONG', message: 'Source is too long: 31 characters, at most 30 are allowed.' },
      { path: ['sourceID'], code: 'BLANK', message: "Source ID can't be blank." },
    ])
  })

  it('takes a name of 128 emoji', async () => {
    const name = '😀'.repeat(128)

    expect(await create({ name })).toMatchObject({ organization: { name } })
  })
})

describe('updateOrganization', () => {
  it('changes what is given and keeps the rest', async () => {
    const parent = await anOrganization(database.ctx)
    const { id, name } = await anOrganization(database.ctx, { parentId: parent.id, source: 'HR', sourceID: 'U-1' })
    const renamed = await update({ id, name: 'Renamed' })
    const disabled = await update({ id, name, disabled: true })
    const moved = await update({ id: encodeId('Organization', id), parentId: null, sourceID: null })

    expect(renamed.organization).toEqual({
      databaseId: id,
      name: 'Renamed',
      disabled: false,
      source: 'HR',
      sourceID: 'U-1',
      parent: { databaseId: parent.id },
    })
    expect(disabled.organization).toEqual({
      databaseId: id,
      name,
      disabled: true,
      source: 'HR',
      sourceID: 'U-1',
      parent: { databaseId: parent.id },
    })
    expect(moved.organization).toEqual({
      databaseId: id,
      name,
      disabled: true,
      source: 'HR',
      sourceID: null,
      parent: null,
    })
  })

  it('leaves alone what is already so', async () => {
    const parent = await anOrganization(database.ctx)
    const { id, name } = await anOrganization(database.ctx, { parentId: parent.id })
    const results = [
      await refused(() => update({ id })),
      await refused(() => update({ id, name, parentId: parent.id, disabled: false, source: null, sourceID: null })),
    ]

    for (const result of results)
      expect(result).toMatchObject({ __typename: 'UpdateOrganizationSuccess', organization: { name } })
  })

  it('refuses null where there must be a value', async () => {
    const { id } = await anOrganization(database.ctx)
    const result = await refused(() => update({ id, name: null, disabled: null }))

    expect(result.issues).toEqual([
      { path: ['name'], code: 'REQUIRED', message: "Name can't be blank." },
      { path: ['disabled'], code: 'REQUIRED', message: 'Disabled must be true or false.' },
    ])
  })

  it('refuses a name that another has', async () => {
    const { name } = await anOrganization(database.ctx)
    const { id } = await anOrganization(database.ctx)
    const result = await refused(() => update({ id, name }))

    expect(result).toMatchObject({ __typename: 'ValidationError', issues: [taken] })
  })

  it.each([
    ['itself', (ids: number[]) => ids[0]],
    ['its child', (ids: number[]) => ids[1]],
    ['a child of its child', (ids: number[]) => ids[2]],
  ])('refuses to move an organization beneath %s', async (_, target) => {
    const root = await anOrganization(database.ctx)
    const child = await anOrganization(database.ctx, { parentId: root.id })
    const grandchild = await anOrganization(database.ctx, { parentId: child.id })
    const result = await refused(() =>
      update({ id: root.id, parentId: target([root.id, child.id, grandchild.id]), name: 'Not this either' }),
    )

    expect(result.issues).toEqual([
      {
        path: ['parentId'],
        code: 'CYCLE',
        message: 'Parent id names the organization itself or one of its descendants.',
      },
    ])
  })

  it('tells a cycle and a taken name together', async () => {
    const { name } = await anOrganization(database.ctx)
    const { id } = await anOrganization(database.ctx)
    const result = await refused(() => update({ id, parentId: id, name }))

    expect(result.issues).toEqual([taken, { path: ['parentId'], code: 'CYCLE', message: expect.any(String) }])
  })

  it('moves an organization beneath a sibling with all that is beneath it', async () => {
    const root = await anOrganization(database.ctx)
    const [left, right] = [
      await anOrganization(database.ctx, { parentId: root.id }),
      await anOrganization(database.ctx, { parentId: root.id }),
    ]
    await updateOrganization(database.ctx, { id: right.id, parentId: left.id })
    const back = await update({ id: left.id, parentId: right.id })

    expect(back).toMatchObject({ __typename: 'ValidationError', issues: [{ code: 'CYCLE' }] })
  })

  it('finds no organization and no parent where there is none, nor one of another account', async () => {
    const own = await anOrganization(database.ctx)
    const foreign = await anOrganization(database.otherCtx)
    const notFound = (path: string) => ({
      __typename: 'NotFoundError',
      message: 'Organization not found.',
      code: 'NOT_FOUND',
      path: [path],
    })

    expect(await refused(() => update({ id: 999_999, name: 'Nobody' }))).toEqual(notFound('id'))
    expect(await refused(() => update({ id: own.id, name: 'Nobody' }, executeAsOther))).toEqual(notFound('id'))
    expect(await refused(() => update({ id: own.id, parentId: 999_999 }))).toEqual(notFound('parentId'))
    expect(await refused(() => update({ id: own.id, parentId: foreign.id }))).toEqual(notFound('parentId'))
  })
})
