import { type FieldNode, type FragmentDefinitionNode, Kind, type OperationDefinitionNode, parse } from 'graphql'
import { describe, expect, it } from 'vitest'
import { selectsAnyOf } from '../../src/graphql/selection.ts'

/** What the info of the first field of a document says of its selection. */
function firstField(document: string) {
  const { definitions } = parse(document)
  const operation = definitions.find(({ kind }) => kind === Kind.OPERATION_DEFINITION) as OperationDefinitionNode
  const fragments = definitions.filter(({ kind }) => kind === Kind.FRAGMENT_DEFINITION) as FragmentDefinitionNode[]
  return {
    fieldNodes: [operation.selectionSet.selections[0] as FieldNode],
    fragments: Object.fromEntries(fragments.map((fragment) => [fragment.name.value, fragment])),
  }
}

describe('whether a field is selected', () => {
  it.each([
    ['{ list { nodes { wanted } } }', true],
    ['{ list { nodes { alias: wanted @skip(if: true) } } }', true],
    ['{ list { ... on A { nodes { ...F } } } } fragment F on A { b { wanted } }', true],
    ['{ list { nodes { other } } wanted }', false],
    ['{ list { ...F ...F } } fragment F on A { wanted: other }', false],
    ['{ wanted }', false],
  ])('%s: %s', (document, isSelected) => {
    expect(selectsAnyOf('more', 'wanted')(firstField(document))).toBe(isSelected)
  })

  it('is found out at once where each fragment spreads the next one twice', () => {
    const fragments = Array.from({ length: 200 }, (_, i) => `fragment F${i} on A { ...F${i + 1} ...F${i + 1} }`)
    const document = `{ list { ...F0 } } ${fragments.join(' ')} fragment F200 on A { other }`

    expect(selectsAnyOf('wanted')(firstField(document))).toBe(false)
  })
})
