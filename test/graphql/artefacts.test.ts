import { buildSchema } from 'graphql'
import { describe, expect, it } from 'vitest'
import { contactChannel } from '../../src/db/tables.ts'
import { channels } from '../../src/domain/channels.ts'
import { printMinifiedIntrospection, printPossibleTypes } from '../../src/graphql/artefacts.ts'
import { createSchema } from '../../src/graphql/schema.ts'

const small = buildSchema(`
  "Told." type Query { thing(by: Key!, kind: Kind = B): Thing  all: [Thing!]!  at: Time }
  union Thing = Second | First
  interface Named { name: String }
  interface Kept implements Named { name: String }
  type First implements Kept & Named { name: String }
  type Second implements Named { name: String  first: First }
  input Key { id: ID! }
  enum Kind { A B }
  scalar Time
`)

describe('the possible types', () => {
  it('are the objects of each union and interface, in order', () => {
    expect(JSON.parse(printPossibleTypes(small))).toEqual({
      Kept: ['First'],
      Named: ['First', 'Second'],
      Thing: ['First', 'Second'],
    })
  })

  it('tell every contact', () => {
    const { Contact, ContactDetails, Node } = JSON.parse(printPossibleTypes(createSchema()))
    const typenames = contactChannel.enumValues.map((channel) => channels[channel].typename).toSorted()

    expect(Contact).toEqual(typenames)
    expect(ContactDetails).toEqual(typenames)
    expect(Node).toEqual(expect.arrayContaining([...typenames, 'Organization']))
  })
})

describe('the minified introspection', () => {
  const { __schema: told } = JSON.parse(printMinifiedIntrospection(small))
  const typeOf = (name: string) => told.types.find((type: { name: string }) => type.name === name)
  const any = { kind: 'SCALAR', name: 'Any' }

  it('names the types that operations begin with', () => {
    const { queryType, mutationType, subscriptionType, directives } = told

    expect({ queryType, mutationType, subscriptionType, directives }).toEqual({
      queryType: { kind: 'OBJECT', name: 'Query' },
      mutationType: null,
      subscriptionType: null,
      directives: [],
    })
  })

  it('has what can be selected from, and one scalar for all the rest', () => {
    expect(told.types.map(({ name }: { name: string }) => name)).toEqual([
      'First',
      'Kept',
      'Named',
      'Query',
      'Second',
      'Thing',
      'Any',
    ])
  })

  it('tells for each field whether it may be null and what it leads to', () => {
    expect(typeOf('Query')).toEqual({
      kind: 'OBJECT',
      name: 'Query',
      interfaces: [],
      fields: [
        {
          name: 'all',
          type: {
            kind: 'NON_NULL',
            ofType: { kind: 'LIST', ofType: { kind: 'NON_NULL', ofType: { kind: 'UNION', name: 'Thing' } } },
          },
          args: [],
        },
        { name: 'at', type: any, args: [] },
        {
          name: 'thing',
          type: { kind: 'UNION', name: 'Thing' },
          args: [
            { name: 'by', type: { kind: 'NON_NULL', ofType: any } },
            { name: 'kind', type: any },
          ],
        },
      ],
    })
  })

  it('tells the members of unions and interfaces, and what implements what', () => {
    const [first, second] = ['First', 'Second'].map((name) => ({ kind: 'OBJECT', name }))

    expect(typeOf('Thing')).toEqual({ kind: 'UNION', name: 'Thing', possibleTypes: [first, second] })
    expect(typeOf('Kept')).toMatchObject({ interfaces: [{ kind: 'INTERFACE', name: 'Named' }], possibleTypes: [first] })
    expect(typeOf('First').interfaces.map(({ name }: { name: string }) => name)).toEqual(['Kept', 'Named'])
  })

  it('describes nothing', () => {
    expect(printMinifiedIntrospection(small)).not.toContain('Told')
  })
})
