import type { PulledOrganization } from '../domain/pull.ts'

/**
 * The organizations, each after its parent. One whose parent cannot be found, and those that are above each other in a
 * circle, come to the root, which is told. `isKept` says of a parent that is not among them that it is here all the same.
 */
export function parentsFirst(
  rows: readonly PulledOrganization[],
  isKept: (parent: number) => boolean,
  tell: (warning: string) => void,
): PulledOrganization[] {
  const byId = new Map(rows.map((row) => [row.foreignId, row]))
  const children = new Map<number, PulledOrganization[]>(rows.map(({ foreignId }) => [foreignId, []]))
  const ordered: PulledOrganization[] = []
  const placed = new Set<number>()
  const place = (top: PulledOrganization) => {
    const waiting = [top]
    for (let row = waiting.pop(); row; row = waiting.pop()) {
      placed.add(row.foreignId)
      ordered.push(row)
      for (const child of children.get(row.foreignId)!) if (!placed.has(child.foreignId)) waiting.push(child)
    }
  }
  const tops: PulledOrganization[] = []
  for (const row of rows) {
    const { parentForeignId: parent } = row
    if (parent !== null && children.has(parent)) children.get(parent)!.push(row)
    else if (parent === null || isKept(parent)) tops.push(row)
    else {
      tell(`Organization ${row.foreignId} is beneath ${parent}, which the source does not show: it comes to the root.`)
      tops.push({ ...row, parentForeignId: null })
    }
  }
  tops.forEach(place)
  for (const row of rows) {
    if (placed.has(row.foreignId)) continue
    const circle = circleAbove(row, byId)
    const named = circle.length > mostNamed ? [...circle.slice(0, mostNamed), '…'] : circle
    tell(`Organizations above each other in a circle come to the root: ${named.join(', ')}.`)
    for (const id of circle) placed.add(id)
    for (const id of circle) place({ ...byId.get(id)!, parentForeignId: null })
  }
  return ordered
}

const mostNamed = 10

/** The circle that the way up from a row ends in. */
function circleAbove(row: PulledOrganization, byId: ReadonlyMap<number, PulledOrganization>): number[] {
  const path: number[] = []
  const places = new Map<number, number>()
  for (let id = row.foreignId; ; id = byId.get(id)!.parentForeignId!) {
    const at = places.get(id)
    if (at !== undefined) return path.slice(at)
    places.set(id, path.length)
    path.push(id)
  }
}
