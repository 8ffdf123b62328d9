/** The few messages of PostgreSQL's protocol that the proxy has to know. */
const types: Record<string, string> = { S: 'Sync', Q: 'Query', Z: 'ReadyForQuery' }

export interface Message {
  /** `Sync` and `Query` are asked, `ReadyForQuery` is answered; anything else is its letter. */
  type: string
  body: Buffer
}

const typeBytes = 1
const lengthBytes = 4

/**
 * Splits what has come into whole messages; what is left over begins the next. `atStart` is for the first message of a
 * client, which has no type. (`S` is something else in an answer, where nobody looks for it.)
 */
export function readMessages(bytes: Buffer, atStart: boolean): { messages: Message[]; rest: Buffer } {
  const messages: Message[] = []
  let isUntyped = atStart
  let position = 0
  for (;;) {
    const head = isUntyped ? 0 : typeBytes
    if (bytes.length - position < head + lengthBytes) break
    // The length counts itself, but not the type.
    const end = position + head + bytes.readUInt32BE(position + head)
    if (bytes.length < end) break
    const letter = isUntyped ? 'start' : String.fromCharCode(bytes[position]!)
    messages.push({ type: types[letter] ?? letter, body: bytes.subarray(position + head + lengthBytes, end) })
    position = end
    isUntyped = false
  }
  return { messages, rest: bytes.subarray(position) }
}
