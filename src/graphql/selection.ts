import { type FieldNode, type GraphQLResolveInfo, Kind, type SelectionSetNode } from 'graphql'

type Asked = Pick<GraphQLResolveInfo, 'fieldNodes' | 'fragments'>

/**
 * Tells of a field whether any field of these names is selected beneath it: however deep, on whatever type, and whether a
 * directive leaves it out or not. What was found of a document is kept as long as the document is.
 */
export function selectsAnyOf(...names: readonly string[]): (asked: Asked) => boolean {
  const known = new WeakMap<FieldNode, boolean>()

  const isIn = ({ selections }: SelectionSetNode, fragments: Asked['fragments']): boolean =>
    selections.some((selection) => {
      if (selection.kind === Kind.FRAGMENT_SPREAD) return isIn(fragments[selection.name.value]!.selectionSet, fragments)
      if (selection.kind === Kind.FIELD && names.includes(selection.name.value)) return true
      return selection.selectionSet !== undefined && isIn(selection.selectionSet, fragments)
    })

  return ({ fieldNodes, fragments }) => {
    for (const node of fieldNodes) {
      let found = known.get(node)
      if (found === undefined) {
        found = node.selectionSet !== undefined && isIn(node.selectionSet, fragments)
        known.set(node, found)
      }
      if (found) return true
    }
    return false
  }
}
