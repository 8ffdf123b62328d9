import { isUtf8 } from 'node:buffer'

export type Encoding = 'UTF-8' | 'UTF-16LE'

/** What is wrong with a text as a whole, for somebody who knows the file that it is from. */
export class TextFault extends Error {
  /** From 1; undefined where no line is to blame. */
  readonly line: number | undefined
  readonly reason: string

  constructor(line: number | undefined, reason: string) {
    super(line === undefined ? reason : `line ${line}: ${reason}`)
    this.name = 'TextFault'
    this.line = line
    this.reason = reason
  }
}

/** Tells a file's encoding from its first bytes. */
export function encodingOf(head: Buffer): Encoding {
  const foreign = signatures.find(({ bytes }) => head.subarray(0, bytes.length).equals(bytes))
  if (foreign) throw new TextFault(undefined, `this is ${foreign.name}, not text. ${foreign.advice}`)
  if (startsWith(head, [0xff, 0xfe])) return 'UTF-16LE'
  if (startsWith(head, [0xfe, 0xff])) throw bigEndian()
  // A header is mostly ASCII, of which UTF-16 makes a NUL and a character.
  const sample = head.subarray(0, 256)
  const half = sample.length / 4
  const [atEven, atOdd] = [nuls(sample, 0), nuls(sample, 1)]
  if (atOdd > half && atEven === 0) return 'UTF-16LE'
  if (atEven > half && atOdd === 0) throw bigEndian()
  return 'UTF-8'
}

/** Makes UTF-8 of a text that comes in pieces, and throws a TextFault at bytes that are no characters. */
export class Decoder {
  readonly #encoding: Encoding
  readonly #codec: Codec
  readonly #lines = new LineCounter()
  #rest: Buffer = Buffer.alloc(0)
  #isAtStart = true

  constructor(encoding: Encoding) {
    this.#encoding = encoding
    this.#codec = codecs[encoding]
  }

  /** The whole characters so far, without the byte order mark. */
  write(chunk: Buffer): Buffer {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const whole = bytes.subarray(0, bytes.length - this.#codec.cut(bytes))
    const text = this.#codec.toUtf8(whole)
    if (!text) throw this.#fault(bytes)
    this.#rest = bytes.subarray(whole.length)
    this.#lines.add(text)
    return this.#withoutMark(text)
  }

  end(): void {
    if (this.#rest.length > 0) throw this.#fault(this.#rest)
  }

  #withoutMark(text: Buffer): Buffer {
    if (!this.#isAtStart || text.length === 0) return text
    this.#isAtStart = false
    return startsWith(text, [0xef, 0xbb, 0xbf]) ? text.subarray(3) : text
  }

  #fault(bytes: Buffer): TextFault {
    this.#lines.add(wellFormedStart(bytes, this.#codec))
    const advice = this.#encoding === 'UTF-8' ? ' Save the file as UTF-8 ("CSV UTF-8" in a spreadsheet).' : ''
    return new TextFault(this.#lines.line, `not valid ${this.#encoding}.${advice}`)
  }
}

interface Codec {
  /** How many bytes at the end are the beginning of a character. */
  cut(bytes: Buffer): number
  /** Undefined where a character is malformed. */
  toUtf8(bytes: Buffer): Buffer | undefined
}

const codecs: Record<Encoding, Codec> = {
  'UTF-8': {
    cut(bytes) {
      const start = bytes.findLastIndex((byte, at) => (byte & 0xc0) !== 0x80 || at < bytes.length - 3)
      const present = bytes.length - start
      return start !== -1 && present < sequenceLength(bytes[start]!) ? present : 0
    },
    toUtf8: (bytes) => (isUtf8(bytes) ? bytes : undefined),
  },
  'UTF-16LE': {
    cut(bytes) {
      const odd = bytes.length % 2
      const lastHighByte = bytes[bytes.length - odd - 1] ?? 0
      return (lastHighByte & 0xfc) === 0xd8 ? odd + 2 : odd
    },
    toUtf8(bytes) {
      const text = bytes.toString('utf16le')
      return text.isWellFormed() ? Buffer.from(text) : undefined
    },
  },
}

const sequenceLength = (lead: number): number => (lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4)

/** What comes before the first malformed character, as UTF-8. */
function wellFormedStart(bytes: Buffer, { cut, toUtf8 }: Codec): Buffer {
  const textOf = (length: number) => toUtf8(bytes.subarray(0, length - cut(bytes.subarray(0, length))))
  let [good, bad] = [0, bytes.length + 1]
  while (bad - good > 1) {
    const middle = (good + bad) >> 1
    if (textOf(middle)) good = middle
    else bad = middle
  }
  return textOf(good)!
}

const [lineFeed, carriageReturn] = [10, 13]

/** On which line a text ends, whose lines end with LF, CR LF or CR. */
class LineCounter {
  line = 1
  #last = 0

  add(text: Buffer): void {
    let [line, last] = [this.line, this.#last]
    for (let at = 0; at < text.length; at++) {
      const byte = text[at]!
      if (byte === carriageReturn || (byte === lineFeed && last !== carriageReturn)) line++
      last = byte
    }
    this.line = line
    this.#last = last
  }
}

const startsWith = (bytes: Buffer, start: readonly number[]) => start.every((byte, at) => bytes[at] === byte)

const nuls = (bytes: Buffer, parity: 0 | 1) =>
  bytes.reduce((n, byte, at) => n + Number(byte === 0 && at % 2 === parity), 0)

const bigEndian = () =>
  new TextFault(undefined, 'the encoding is UTF-16BE, which is not read here. Save the file as UTF-8 or as UTF-16LE.')

const signatures = [
  { bytes: Buffer.from('PK\x03\x04'), name: 'a spreadsheet or a ZIP archive', advice: 'Save it as "CSV UTF-8".' },
  { bytes: Buffer.from([0x1f, 0x8b]), name: 'a gzip archive', advice: 'Unpack it first.' },
]
