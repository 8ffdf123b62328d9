/** Which transactions a reader has seen: a `pg_snapshot` of PostgreSQL. */
export type Snapshot = string

/** A place in the stream of events: what was seen of it. */
export interface EventPosition {
  /** Everything that this snapshot shows. */
  readonly snapshot: Snapshot
  /** And of what a later one shows the events up to this one, of which so many changes were seen. */
  readonly within?: { readonly snapshot: Snapshot; readonly id: number; readonly changes: number } | undefined
  /** When the snapshot was taken, by the clock of the database, in milliseconds since 1970. */
  readonly at: number
}

const version = 1
/** More than PostgreSQL can have connections. */
const mostUnderWay = 10_000

/** The place as callers are given it: some twenty characters, and one or two for each transaction that was under way. */
export function encodeEventCursor({ snapshot, within, at }: EventPosition): string {
  const numbers = [version, at, ...numbersOf(snapshot)]
  if (within) numbers.push(within.id, within.changes, ...numbersOf(within.snapshot))
  return Buffer.from(numbers.flatMap(toBytes)).toString('base64url')
}

/** Undefined for what is none. */
export function decodeEventCursor(cursor: string): EventPosition | undefined {
  if (!/^[\w-]{8,8192}$/.test(cursor)) return undefined
  const bytes = Buffer.from(cursor, 'base64url')
  const numbers = readNumbers(bytes)
  const take = () => numbers.shift() ?? Number.NaN
  if (take() !== version) return undefined
  const at = take()
  const snapshot = takeSnapshot(take)
  if (snapshot === undefined) return undefined
  if (numbers.length === 0) return Number.isSafeInteger(at) ? { snapshot, at } : undefined
  const [id, changes] = [take(), take()]
  const later = takeSnapshot(take)
  if (later === undefined || numbers.length > 0 || Number.isNaN(changes)) return undefined
  return { snapshot, within: { snapshot: later, id, changes }, at }
}

/** The text is `xmin:xmax:xid,xid,…`: the lowest under way, the lowest that was not begun, and those under way. */
function numbersOf(snapshot: Snapshot): number[] {
  const [xmin = '', xmax = '', list = ''] = snapshot.split(':')
  const underWay = list === '' ? [] : list.split(',').map(Number)
  const steps = underWay.map((xid, i) => xid - (underWay[i - 1] ?? Number(xmin)))
  return [Number(xmin), Number(xmax) - Number(xmin), steps.length, ...steps]
}

function takeSnapshot(take: () => number): Snapshot | undefined {
  const [xmin, span, count] = [take(), take(), take()]
  if (!(xmin > 0 && count <= Math.min(span, mostUnderWay))) return undefined
  let xid = xmin
  const underWay = Array.from({ length: count }, () => {
    xid += take()
    return xid
  })
  const xmax = xmin + span
  const isInOrder = underWay.every((id, i) => id < xmax && (i === 0 || id > underWay[i - 1]!))
  return isInOrder && Number.isSafeInteger(xmax) ? `${xmin}:${xmax}:${underWay.join(',')}` : undefined
}

/** Seven bits a byte, the lowest first; the highest bit says that there are more. */
function toBytes(number: number): number[] {
  const bytes: number[] = []
  let rest = number
  while (rest >= 128) {
    bytes.push((rest % 128) + 128)
    rest = Math.floor(rest / 128)
  }
  bytes.push(rest)
  return bytes
}

function readNumbers(bytes: Uint8Array): number[] {
  const numbers: number[] = []
  let number = 0
  let unit = 1
  for (const byte of bytes) {
    number += (byte % 128) * unit
    unit *= 128
    if (byte >= 128) continue
    numbers.push(number)
    number = 0
    unit = 1
  }
  // A number that does not end is none.
  return unit === 1 ? numbers : []
}
