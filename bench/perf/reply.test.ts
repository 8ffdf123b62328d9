import { expect, test } from 'vitest'
import { ReplyReader } from './reply.ts'

const plain = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'
const chunked = 'HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n'

test.for([
  [plain, 200],
  [chunked, 201],
] as const)('a reply is read alike, wherever it is cut: %j', ([text, status]) => {
  const reader = new ReplyReader()
  for (let cut = 1; cut < text.length; cut += 1) {
    expect(reader.take(Buffer.from(text.slice(0, cut)))).toBe(false)
    expect(reader.take(Buffer.from(text.slice(cut)))).toBe(true)
    const { body, ...rest } = reader.finish()
    expect({ ...rest, body: body.toString() }).toEqual({ status, body: 'hello', bytes: text.length })
  }
})

test('a reply without a body ends with its head', () => {
  const reader = new ReplyReader()
  expect(reader.take(Buffer.from('HTTP/1.1 204 No Content\r\nx: y\r\n\r\n'))).toBe(true)
  expect(reader.finish()).toMatchObject({ status: 204, bytes: 33 })
})

test('what does not tell where it ends is refused', () => {
  expect(() => new ReplyReader().take(Buffer.from('HTTP/1.1 200 OK\r\n\r\nhello'))).toThrow('where it ends')
})
