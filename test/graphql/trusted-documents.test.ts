import { describe, expect, it } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { createSchema } from '../../src/graphql/schema.ts'
import {
  checkDocuments,
  type ListedDocument,
  listFile,
  listManifest,
  sha256Of,
} from '../../src/graphql/trusted-documents.ts'

const schema = createSchema()
const { limits } = readConfig({})

function check(listed: ListedDocument[], given: { introspection?: boolean; limits?: Partial<typeof limits> } = {}) {
  const faults: string[] = []
  const options = { schema, limits: { ...limits, ...given.limits }, introspection: given.introspection ?? true }
  return { documents: checkDocuments(listed, options, faults), faults }
}

function list(json: unknown) {
  const faults: string[] = []
  return { listed: listManifest('m.json', typeof json === 'string' ? json : JSON.stringify(json), faults), faults }
}

const inApollo = (operations: unknown) => ({ format: 'apollo-persisted-query-manifest', version: 1, operations })

describe('a manifest', () => {
  it('lists what graphql-codegen and Relay have written', () => {
    expect(list({ one: '{ a }', two: '{ b }' })).toEqual({
      listed: [
        { file: 'm.json', id: 'one', text: '{ a }' },
        { file: 'm.json', id: 'two', text: '{ b }' },
      ],
      faults: [],
    })
  })

  it("lists the operations of Apollo's", () => {
    const operations = [{ id: 'one', body: 'query A { a }', name: 'A', type: 'query' }]

    expect(list(inApollo(operations)).listed).toEqual([{ file: 'm.json', id: 'one', text: 'query A { a }' }])
  })

  it.each(['', '{', 'null', '[]', '"text"', '1', JSON.stringify(inApollo(undefined)), JSON.stringify(inApollo({}))])(
    'is not %j',
    (json) => {
      expect(list(json)).toEqual({
        listed: [],
        faults: ['m.json is no manifest: neither {"id": "document", …} nor Apollo\'s with its operations.'],
      })
    },
  )

  it('has ids and documents that are texts', () => {
    const fault = 'an id and a document must be texts.'

    expect(list({ good: '{ a }', '': '{ a }', no: 1, none: null }).faults).toEqual([
      `m.json, id : ${fault}`,
      `m.json, id no: ${fault}`,
      `m.json, id none: ${fault}`,
    ])
    expect(list(inApollo([{ id: 1, body: '{ a }' }, null, { id: 'x' }])).faults).toEqual([
      `m.json, an entry: ${fault}`,
      `m.json, an entry: ${fault}`,
      `m.json, id x: ${fault}`,
    ])
  })

  it('may have the names of prototypes for ids', () => {
    const { listed } = list('{"__proto__":"{ __typename }","constructor":"{ a: __typename }"}')

    expect([...check(listed).documents.keys()]).toEqual(['__proto__', 'constructor'])
  })
})

describe('a trusted document', () => {
  const listed = (text: string, id = 'x') => [{ file: 'm.json', id, text }]

  it('goes by its id without the prefix of hashes', () => {
    const { documents } = check(listed('{ __typename }', 'sha256:abc'))

    expect([...documents.keys()]).toEqual(['abc'])
  })

  it('goes by the hash of its text where it is a file of its own', () => {
    const text = '# As it stands\n{ __typename }\n'

    expect(listFile('a.graphql', text)).toEqual({ file: 'a.graphql', id: sha256Of(text), text })
  })

  it.each<[string, string, string[]]>([
    ['is no document', '{ a', ['Syntax Error: Expected Name, found <EOF>. (1:4)']],
    ['is empty', '', ['Syntax Error: Unexpected <EOF>. (1:1)']],
    [
      'does not fit the schema',
      '{ nothing neither }',
      ['Cannot query field "nothing" on type "Query". (1:3)', 'Cannot query field "neither" on type "Query". (1:11)'],
    ],
    ['has no operation', 'fragment F on Query { __typename }', ['It has no operation.']],
    [
      'has the directive of mutations elsewhere',
      '{ organizations @idempotent(key: "k") { totalCount } }',
      ['@idempotent is for the fields of a mutation alone, not for Query.organizations. (1:17)'],
    ],
    [
      'asks for too much',
      `{ ${Array.from({ length: 21 }, (_, i) => `a${i}: __typename`).join(' ')} }`,
      ['The operation has 21 fields; at most 20 are allowed.'],
    ],
    [
      'has too many tokens',
      `{ ${'__typename '.repeat(2000)} }`,
      ['The document has 2002 tokens; at most 2000 are allowed.'],
    ],
    [
      'has too many brackets',
      `{ a(b: ${'['.repeat(1990)}`,
      ['The document has 1992 brackets within each other; at most 200 are allowed.'],
    ],
    [
      'asks for too many nodes, whatever its variables are',
      '{ organizations(first: 60000) { totalCount } }',
      ['The document asks for 60000 nodes; at most 50000 are allowed.'],
    ],
  ])('is refused where it %s', (_, text, faults) => {
    expect(check(listed(text)).faults).toEqual(faults.map((fault) => `m.json, id x: ${fault}`))
  })

  it('may ask for as many nodes as its variables say', () => {
    const text = 'query ($first: Int = 60000) { organizations(first: $first) { totalCount } }'

    expect(check(listed(text)).faults).toEqual([])
  })

  it('may ask for the schema where that may be known', () => {
    const text = '{ __schema { queryType { name } } }'

    expect(check(listed(text)).faults).toEqual([])
    expect(check(listed(text), { introspection: false }).faults).toEqual([
      expect.stringContaining('m.json, id x: GraphQL introspection has been disabled'),
      expect.stringContaining('m.json, id x: GraphQL introspection has been disabled'),
    ])
  })

  it('has its id for itself', () => {
    const both = [...listed('{ __typename }'), ...listed('{ a: __typename }'), ...listed('{ __typename }')]

    expect(check(both).faults).toEqual(['m.json, id x: The id stands for another document as well.'])
  })

  it('is told of with all the others that are wrong', () => {
    const all = [...listed('{', 'a'), ...listed('{ __typename }', 'b'), ...listed('{ nothing }', 'c')]

    expect(check(all).faults).toEqual([
      expect.stringMatching(/^m.json, id a: Syntax Error/),
      expect.stringMatching(/^m.json, id c: Cannot query/),
    ])
  })
})
