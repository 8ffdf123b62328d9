import { beforeAll, describe, expect, it } from 'vitest'
import { encodeId } from '../../src/domain/ids.ts'
import { sampleOrganizations } from '../../src/domain/sample.ts'
import { seedOrganizations } from '../../src/domain/seed.ts'
import { useDatabase } from '../support/database.ts'
import { type CallRest, restFor } from '../support/rest.ts'

const database = useDatabase()
let call: CallRest
let callAsOther: CallRest
beforeAll(async () => {
  await seedOrganizations(database.ctx, sampleOrganizations)
  call = restFor(database.ctx)
  callAsOther = restFor(database.otherCtx)
})

const instant = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)

describe('organizations', () => {
  it('are listed by name, each with its parent', async () => {
    const { status, body, headers } = await call('GET', '/organizations')

    expect(status).toBe(200)
    expect(body.map(({ id, name, parent }: Record<string, unknown>) => [id, name, parent])).toEqual([
      [1, 'Best IT', null],
      [3, 'Best IT Asia Pacific', { id: 1, name: 'Best IT' }],
      [2, 'Best IT Europe', { id: 1, name: 'Best IT' }],
      [4, 'Best IT London', { id: 2, name: 'Best IT Europe' }],
      [5, 'Harbour Freight Forwarding', null],
      [6, 'Harbour Warehouse', { id: 5, name: 'Harbour Freight Forwarding' }],
    ])
    expect(Object.keys(body[0])).toEqual([
      'id',
      'name',
      'parent',
      'disabled',
      'source',
      'sourceID',
      'created_at',
      'updated_at',
    ])
    expect(headers.get('x-pagination-total-entries')).toBe('6')
  })

  it('are paged and chosen like contacts', async () => {
    const first = await call('GET', '/organizations?per_page=4&fields=name')
    const next = /<http:\/\/127\.0\.0\.1:4000\/v1([^>]+)>; rel="next"/.exec(first.headers.get('link')!)![1]!
    const second = await call('GET', next)

    expect(first.body).toHaveLength(4)
    expect(second.body).toEqual([{ name: 'Harbour Freight Forwarding' }, { name: 'Harbour Warehouse' }])
    expect((await call('GET', '/organizations?per_page=0')).status).toBe(400)
    expect((await call('GET', '/organizations?fields=contacts')).body).toEqual({ message: 'Unknown fields: contacts' })
  })

  it('alone come with their contacts', async () => {
    const expected = {
      id: 4,
      name: 'Best IT London',
      parent: { id: 2, name: 'Best IT Europe' },
      disabled: false,
      source: 'HR',
      sourceID: 'EU-02',
      created_at: instant,
      updated_at: instant,
      contacts: [
        { label: 'general', id: 77, telephone: '+44 20 7946 0121' },
        { label: 'service_desk_fax', id: 78, telephone: '+44 20 7946 0122' },
      ],
    }

    expect((await call('GET', '/organizations/4')).body).toEqual(expected)
    expect((await call('GET', `/organizations/${encodeId('Organization', 4)}.json`)).body).toEqual(expected)
    expect((await call('GET', '/organizations/4?fields=name')).body).toEqual({ name: 'Best IT London' })
  })

  it('of another account are not there', async () => {
    expect((await callAsOther('GET', '/organizations')).body).toEqual([])
    expect((await callAsOther('GET', '/organizations/1')).status).toBe(404)
  })

  it('cannot be written here', async () => {
    const { status, headers } = await call('POST', '/organizations', { name: 'x' })

    expect([status, headers.get('allow')]).toEqual([405, 'GET, HEAD, OPTIONS'])
  })
})
