const endOfHead = Buffer.from('\r\n\r\n')
const endOfLine = Buffer.from('\r\n')
const nothing = Buffer.alloc(0)

/**
 * Reads the replies of one connection, one after the other, as far as a load generator needs to: the status, and where the
 * body ends. Throws where that cannot be told.
 */
export class ReplyReader {
  #bytes: Buffer = nothing
  #status = 0
  /** Undefined while the head is not complete. */
  #bodyAt: number | undefined
  /** By Content-Length; undefined where the body comes in chunks. */
  #end: number | undefined
  /** Where the next chunk begins. */
  #chunkAt = 0
  #chunks: Buffer[] = []

  /** Takes what has come; true once the reply is complete. */
  take(bytes: Buffer): boolean {
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes])
    if (this.#bodyAt === undefined && !this.#readHead()) return false
    return this.#end === undefined ? this.#readChunks() : this.#bytes.length >= this.#end
  }

  /** Of the complete reply; then the reader is ready for the next one. */
  finish(): { status: number; body: Buffer; bytes: number } {
    const body =
      this.#end === undefined ? Buffer.concat(this.#chunks) : this.#bytes.subarray(this.#bodyAt ?? 0, this.#end)
    if (this.#end !== undefined && this.#bytes.length > this.#end) throw new Error('more came than one reply')
    const reply = { status: this.#status, body, bytes: this.#bytes.length }
    this.#bytes = nothing
    this.#bodyAt = undefined
    this.#end = undefined
    this.#chunks = []
    return reply
  }

  #readHead(): boolean {
    const at = this.#bytes.indexOf(endOfHead)
    if (at < 0) return false
    const head = this.#bytes.toString('latin1', 0, at)
    this.#status = Number(head.slice(9, 12))
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)
    this.#bodyAt = at + endOfHead.length
    if (length) this.#end = this.#bodyAt + Number(length[1])
    else if (/\r\ntransfer-encoding: *chunked/i.test(head)) this.#chunkAt = this.#bodyAt
    else if (this.#status === 204 || this.#status === 304) this.#end = this.#bodyAt
    else throw new Error(`a reply that does not tell where it ends:\n${head}`)
    return true
  }

  #readChunks(): boolean {
    for (;;) {
      const lineEnd = this.#bytes.indexOf(endOfLine, this.#chunkAt)
      if (lineEnd < 0) return false
      const size = Number.parseInt(this.#bytes.toString('latin1', this.#chunkAt, lineEnd), 16)
      if (Number.isNaN(size)) throw new Error('a chunk without a size')
      const from = lineEnd + endOfLine.length
      const next = from + size + endOfLine.length
      if (this.#bytes.length < next) return false
      if (size === 0) return true
      this.#chunks.push(this.#bytes.subarray(from, from + size))
      this.#chunkAt = next
    }
  }
}
