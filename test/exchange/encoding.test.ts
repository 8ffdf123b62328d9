import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Decoder, type Encoding, encodingOf, TextFault } from '../../src/exchange/encoding.ts'

const encodings = ['UTF-8', 'UTF-16LE'] as const

describe('the encoding of a file', () => {
  const header = 'ID,Organization'

  it.each([
    ['UTF-8', Buffer.from(header)],
    ['UTF-8', Buffer.from(`\ufeff${header}`)],
    ['UTF-8', Buffer.alloc(0)],
    ['UTF-8', Buffer.from('Größe;Straße')],
    ['UTF-16LE', Buffer.from(`\ufeff${header}`, 'utf16le')],
    ['UTF-16LE', Buffer.from(header, 'utf16le')],
    ['UTF-16LE', Buffer.from('Größe;Название;Straße;Integration', 'utf16le')],
    ['UTF-16LE', Buffer.from('\ufeffНазвание', 'utf16le')],
  ])('is %s', (encoding, head) => {
    expect(encodingOf(head)).toBe(encoding)
  })

  it('is not UTF-8 because of a NUL here and there', () => {
    expect(encodingOf(Buffer.from('\0\0\0\0'))).toBe('UTF-8')
    expect(encodingOf(Buffer.from('I\0D,Organization'))).toBe('UTF-8')
  })

  it.each([
    ['with a byte order mark', Buffer.from(`\ufeff${header}`, 'utf16le').swap16()],
    ['without one', Buffer.from(header, 'utf16le').swap16()],
  ])('is refused if it is UTF-16BE %s', (_, head) => {
    expect(() => encodingOf(head)).toThrow('UTF-16BE, which is not read here. Save the file as UTF-8')
  })

  it.each([
    ['a ZIP archive', Buffer.from('PK\x03\x04…')],
    ['a gzip archive', Buffer.from([0x1f, 0x8b, 8, 0])],
  ])('is not looked for in %s', (name, head) => {
    expect(() => encodingOf(head)).toThrow(name)
  })
})

describe('a decoder', () => {
  const piece = fc.oneof(
    fc.constantFrom('\n', '\r', '\r\n', 'a', '\ufeff', '\0', '€', '😀'),
    fc.string({ unit: 'binary' }),
  )
  const text = fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join(''))
  const chunkLengths = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 })

  it.each(encodings)('makes the same UTF-8 of %s in pieces of any size', (encoding) => {
    fc.assert(
      fc.property(text, fc.boolean(), chunkLengths, (text, withMark, lengths) => {
        // A text that begins with a mark has one, whatever was meant.
        fc.pre(!text.startsWith('\ufeff'))
        const bytes = encode(withMark ? `\ufeff${text}` : text, encoding)
        expect(decode(encoding, pieces(bytes, lengths))).toBe(text)
      }),
    )
  })

  it.each([
    ['UTF-8', [0xff]],
    ['UTF-8', [0xc3, 0x28]],
    ['UTF-8', [0x80]],
    ['UTF-8', [0xe9, 0x72, 0x65]],
    ['UTF-8', [0xed, 0xa0, 0x80]],
    ['UTF-8', [0xc0, 0xaf]],
    ['UTF-8', [0xf5, 0x80, 0x80, 0x80]],
    ['UTF-8', [0xf4, 0x90, 0x80, 0x80]],
    ['UTF-16LE', [0x00, 0xd8, 0x41, 0x00]],
    ['UTF-16LE', [0x00, 0xd8, 0x00, 0xd8]],
    ['UTF-16LE', [0x00, 0xdc]],
  ] as [Encoding, number[]][])('refuses, as %s, %j with the line', (encoding, malformed) => {
    const line = fc.constantFrom('a\n', '€\r', '😀\r\n', '\r', '\n')
    fc.assert(
      fc.property(fc.array(line), text, chunkLengths, (before, after, lengths) => {
        const start = before.join('')
        const bytes = Buffer.concat([encode(start, encoding), Buffer.from(malformed), encode(after, encoding)])
        const fault = faultOf(() => decode(encoding, pieces(bytes, lengths)))
        expect(fault).toMatchObject({ line: linesIn(start), reason: expect.stringContaining(`not valid ${encoding}`) })
      }),
    )
  })

  it.each([
    ['UTF-8', '€', 1],
    ['UTF-8', '😀', 1],
    ['UTF-8', '😀', 3],
    ['UTF-16LE', 'a', 1],
    ['UTF-16LE', '😀', 1],
    ['UTF-16LE', '😀', 2],
  ] as [Encoding, string, number][])('refuses a text in %s that ends within a character', (encoding, last, missing) => {
    const bytes = encode(`a\nb\n${last}`, encoding)
    const fault = faultOf(() => decode(encoding, [bytes.subarray(0, -missing)]))
    expect(fault.line).toBe(3)
  })

  it('tells what to save a file as that is not UTF-8', () => {
    expect(faultOf(() => decode('UTF-8', [Buffer.from('Müller', 'latin1')])).reason).toContain('Save the file as UTF-8')
  })
})

const encode = (text: string, encoding: Encoding) => Buffer.from(text, encoding === 'UTF-8' ? 'utf8' : 'utf16le')

const linesIn = (text: string) => text.split(/\r\n|\r|\n/).length

function decode(encoding: Encoding, chunks: Iterable<Buffer>): string {
  const decoder = new Decoder(encoding)
  let text = ''
  // Each piece must be whole: it is decoded by itself.
  for (const chunk of chunks) text += decoder.write(chunk).toString()
  decoder.end()
  return text
}

/** Cuts bytes into pieces of these lengths, over and over. */
function* pieces(bytes: Buffer, lengths: readonly number[]) {
  for (let at = 0, n = 0; at < bytes.length; n++) {
    const end = at + lengths[n % lengths.length]!
    yield bytes.subarray(at, end)
    at = end
  }
}

function faultOf(action: () => unknown): TextFault {
  try {
    action()
  } catch (error) {
    expect(error).toBeInstanceOf(TextFault)
    return error as TextFault
  }
  throw new Error('It was accepted.')
}
