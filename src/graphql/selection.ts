import { type FieldNode, type GraphQLResolveInfo, Kind, type SelectionSetNode } from 'graphql'

type Asked = Pick<GraphQLResolveInfo, 'fieldNodes' | 'fragments'>

/**
 * Tells of a field whether any field of these names is selected beneath it: however deep, on whatever type, and whether a
 * directive leaves it out or not. What was found of a document is kept as long as the document is.
 */
export function selectsAnyOf(...names: readonly string[]): (asked: Asked) => boolean {
  const known = new WeakMap<FieldNode, boolean>()

  const isIn = (whole: SelectionSetNode, fragments: Asked['fragments']): boolean => {
    // A set grows while it is gone through, and a fragment is looked at once, however often it is spread.
    const sets = new Set([whole])
    for (const { selections } of sets) {
      for (const selection of selections) {
        if (selection.kind === Kind.FIELD && names.includes(selection.name.value)) return true
        const { selectionSet } = selection.kind === Kind.FRAGMENT_SPREAD ? fragments[selection.name.value]! : selection
        if (selectionSet) sets.add(selectionSet)
      }
    }
    return false
  }

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
