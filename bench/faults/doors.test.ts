import { describe, expect, it } from 'vitest'
import type { Exchange } from './client.ts'
import { type Change, graphqlDoor, restDoor } from './doors.ts'

const change: Change = { kind: 'add', organization: 1, value: 'a@example.com' }

const answered = (status: number, body: unknown, headers = {}): Exchange => ({
  end: 'answered',
  status,
  headers,
  text: typeof body === 'string' ? body : JSON.stringify(body),
  ms: 1,
  hasBegun: undefined,
})
const topLevel = (code: string, message: string, path?: string[]) =>
  answered(200, { data: null, errors: [{ message, path, extensions: { code } }] })

describe('GraphQL', () => {
  const read = (exchange: Exchange) => {
    const { outcome, unclear } = graphqlDoor.read(change, exchange)
    return [outcome, unclear === undefined ? 'clear' : 'unclear']
  }

  it('tells what was done', () => {
    const contact = { databaseId: 7, version: 1 }
    const answer = answered(200, { data: { addContact: { __typename: 'AddContactSuccess', contact } } })

    expect(graphqlDoor.read(change, answer)).toEqual({ outcome: 'acknowledged', contacts: [{ id: 7, version: 1 }] })
  })

  it.each<[string, Exchange, string[]]>([
    ['nothing was done', topLevel('SERVICE_UNAVAILABLE', 'Try again later.'), ['refused', 'clear']],
    ['the gateway cannot tell', topLevel('TIMEOUT', 'It may have been done all the same.'), ['unknown', 'clear']],
    [
      'the payload could not be read',
      topLevel('SERVICE_UNAVAILABLE', 'Try again later.', ['addContact', 'organization']),
      ['unknown', 'clear'],
    ],
    ['there is a bug', topLevel('INTERNAL_SERVER_ERROR', 'Unexpected error.'), ['refused', 'unclear']],
    ['the driver speaks', topLevel('SERVICE_UNAVAILABLE', 'read ECONNRESET'), ['refused', 'unclear']],
    [
      'a rule refuses what keeps to it',
      answered(200, { data: { addContact: { __typename: 'ConflictError', message: 'no' } } }),
      ['refused', 'unclear'],
    ],
    ['it is no JSON', answered(502, '<html>'), ['unknown', 'unclear']],
    ['there is nothing in it', answered(200, {}), ['unknown', 'unclear']],
    ['nobody listens', { end: 'cut', code: 'ECONNREFUSED', ms: 1, hasBegun: undefined }, ['refused', 'clear']],
    ['the connection goes away', { end: 'cut', code: 'ECONNRESET', ms: 1, hasBegun: undefined }, ['unknown', 'clear']],
    ['it goes away before the body', { end: 'cut', code: 'ECONNRESET', ms: 1, hasBegun: false }, ['refused', 'clear']],
    ['nothing comes', { end: 'unanswered', ms: 1, hasBegun: undefined }, ['unknown', 'clear']],
  ])('when %s', (_, exchange, verdict) => {
    expect(read(exchange)).toEqual(verdict)
  })
})

describe('REST', () => {
  const read = (exchange: Exchange) => {
    const { outcome, unclear } = restDoor.read(change, exchange)
    return [outcome, unclear === undefined ? 'clear' : 'unclear']
  }
  const retry = { 'retry-after': '1' }

  it('tells what was done', () => {
    expect(restDoor.read(change, answered(201, { id: 7 }, { etag: '"v1"' }))).toEqual({
      outcome: 'acknowledged',
      contacts: [{ id: 7, version: 1 }],
    })
  })

  it.each<[string, Exchange, string[]]>([
    ['the database is away', answered(503, { message: 'Service Unavailable' }, retry), ['unknown', 'clear']],
    ['it takes too long', answered(504, { message: 'Gateway Timeout' }, retry), ['unknown', 'clear']],
    ['nobody says when to come again', answered(503, { message: 'Service Unavailable' }), ['unknown', 'unclear']],
    ['there is a bug', answered(500, { message: 'Internal Server Error' }), ['unknown', 'unclear']],
    ['a rule refuses what keeps to it', answered(412, { message: 'Precondition Failed' }), ['refused', 'unclear']],
    ['a contact has no version', answered(201, { id: 7 }), ['unknown', 'unclear']],
  ])('when %s', (_, exchange, verdict) => {
    expect(read(exchange)).toEqual(verdict)
  })
})
