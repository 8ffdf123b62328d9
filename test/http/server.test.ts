import { connect } from 'node:net'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { createApp } from '../../src/app.ts'
import { sampleOrganizations } from '../../src/domain/sample.ts'
import { seedOrganizations } from '../../src/domain/seed.ts'
import { jsonAnswer } from '../../src/http/message.ts'
import { type Handler, listen, type RunningServer } from '../../src/http/server.ts'
import { appOptionsFor, serverOptions } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'
import { beginRequest, exchange, type Part } from '../support/gateway.ts'
import { unchanged } from '../support/state.ts'

const maxBodyBytes = 262_144
const mebibyte = 1024 * 1024

const logged: string[] = []
const log = pino({ base: undefined }, { write: (line: string) => logged.push(line) })
const start = (handler: Handler) => listen({ handler, ...serverOptions, log })

beforeEach(() => {
  logged.length = 0
})

describe('the server', () => {
  /** Tells what reached it. */
  const echo: Handler = {
    handle: async ({ pathname: path, body }) => jsonAnswer(200, { path, length: body.length, text: body.slice(0, 20) }),
    refuse: (path, { status, message }) => jsonAnswer(status, { path, message }),
  }
  let server: RunningServer
  beforeAll(async () => {
    server = await start(echo)
  })
  afterAll(() => server.close(0))

  describe.each([
    ['of a length that is told', withLength],
    ['in chunks, without a length', inChunks],
  ])('takes a body %s', (_, post) => {
    it.each([
      ['without a byte', Buffer.alloc(0), 0],
      ['at the limit', Buffer.alloc(maxBodyBytes, 'a'), maxBodyBytes],
      [
        'at the limit in bytes, of half as many characters',
        Buffer.from('é'.repeat(maxBodyBytes / 2)),
        maxBodyBytes / 2,
      ],
    ])('%s', async (_, body, length) => {
      const answer = await exchange(server, post('/', body))

      expect(answer).toMatchObject({ status: 200, json: { length } })
    })

    it.each([
      ['one byte above the limit', maxBodyBytes + 1],
      ['of 10 MB', 10 * mebibyte],
    ])('but not %s, which is refused by an answer that arrives', async (_, bytes) => {
      const answer = await exchange(server, post('/', Buffer.alloc(bytes, 'a')))

      const message = expect.stringMatching(/^The body has at least \d+ bytes; at most 262144 are allowed\.$/)
      expect(answer).toMatchObject({ status: 413, json: { path: '/', message } })
      expect(answer.head).toMatch(/^content-type: application\/json; charset=utf-8$/im)
      expect(answer.head).toMatch(/^connection: close$/im)
    })

    it('but not invalid UTF-8', async () => {
      const answer = await exchange(server, post('/', Buffer.from([0x7b, 0xff, 0xfe, 0x7d])))

      expect(answer).toMatchObject({ status: 400, json: { path: '/', message: 'The body is not valid UTF-8.' } })
    })
  })

  it('takes a character whose bytes come in two chunks', async () => {
    const [first, second] = [Buffer.from([0xe2, 0x82]), Buffer.from([0xac])]

    const answer = await exchange(server, inChunks('/', first, second))

    expect(answer).toMatchObject({ status: 200, json: { text: '€', length: 1 } })
  })

  it.each([
    ['OPTIONS', '*', 400],
    ['GET', 'http://elsewhere/path', 400],
    ['GET', 'path', 400],
    ['GET', '//path', 200],
    ['GET', '/%', 200],
    ['GET', '/%00', 200],
    ['TRACE', '/', 405],
  ])('answers %s %s with %i', async (method, target, status) => {
    const answer = await exchange(server, [
      `${method} ${target} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n`,
    ])

    expect(answer.status).toBe(status)
  })

  it.each([
    ['host: gateway:4000\r\n', 200],
    ['host: [::1]:4000\r\n', 200],
    ['host: one\r\nhost: two\r\n', 400],
    ['host: \r\n', 400],
    ['host: :::]]//\r\n', 400],
    ['host: a b\r\n', 400],
    ['host: a/b?c#d@e\r\n', 400],
    ['host: \0\r\n', 400],
    ['', 400],
  ])('does not stumble over the header %j', async (header, status) => {
    const answer = await exchange(server, [`GET / HTTP/1.1\r\n${header}connection: close\r\n\r\n`])

    expect(answer.status).toBe(status)
  })

  it.each([
    ['CONNECT', 'CONNECT elsewhere:443 HTTP/1.1\r\nhost: elsewhere:443\r\n\r\n', undefined],
    ['what is not HTTP', 'hello\r\n\r\n', 400],
    [
      'two lengths',
      'POST / HTTP/1.1\r\nhost: gateway\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
    ['a head that is too long', `GET / HTTP/1.1\r\nhost: gateway\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
  ])('closes the connection on %s, and goes on', async (_, request, status) => {
    const refused = await exchange(server, [request])

    expect(refused.status).toBe(status)
    expect((await exchange(server, withLength('/', 'next'))).json).toMatchObject({ text: 'next' })
  })

  it('answers requests that follow each other on one connection in their order', async () => {
    const request = (path: string) => `GET ${path} HTTP/1.1\r\nhost: gateway\r\n`

    const { text } = await exchange(server, [
      `${request('/1')}\r\n${request('/2')}\r\n${request('/3')}connection: close\r\n\r\n`,
    ])

    expect(text.match(/"path":"\/\d"/g)).toEqual(['"path":"/1"', '"path":"/2"', '"path":"/3"'])
  })

  it('forgets a client that goes away in the middle of a request', async () => {
    const own = await start(echo)
    const socket = connect(Number(new URL(own.url).port), '127.0.0.1')
    socket.write('POST / HTTP/1.1\r\nhost: gateway\r\nexpect: 100-continue\r\ncontent-length: 100\r\n\r\n')
    await new Promise((resolve) => socket.once('data', resolve))
    socket.write('half')

    socket.destroy()

    expect((await exchange(own, withLength('/', 'next'))).json).toMatchObject({ text: 'next' })
    // Nothing is left that would have to be cut.
    await own.close(60_000)
    expect(logged).toEqual([])
  })

  it('cuts the connection when the handler fails, tells no more than the type of the error, and goes on', async () => {
    const own = await start({
      ...echo,
      async handle(request, visit) {
        if (request.pathname === '/fails') throw new TypeError('a secret')
        return echo.handle(request, visit)
      },
    })

    const answer = await exchange(own, withLength('/fails', 'x'))

    expect(answer.text).toBe('')
    expect(logged.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({ level: 50, error: { type: 'TypeError' }, msg: 'a request could not be answered' }),
    ])
    expect(logged[0]).not.toContain('secret')
    expect((await exchange(own, withLength('/', 'next'))).json).toMatchObject({ text: 'next' })
    await own.close(0)
  })

  it('lets a request in progress end while it closes', async () => {
    const own = await start(echo)
    const inProgress = await beginRequest(own.url, '{ __typename }')

    const closed = own.close(60_000)
    // By then, new connections are refused.
    await vi.waitFor(() => expect(fetch(own.url)).rejects.toThrow())

    expect(await inProgress.finish()).toMatchObject({ status: 200, headers: { connection: 'close' } })
    await closed
  })

  it('cuts a request that does not end, when its time is up', async () => {
    const own = await start(echo)
    const hanging = await beginRequest(own.url, '{ __typename }')

    await own.close(100)

    await expect(hanging.finish()).rejects.toThrow()
  })
})

describe('GraphQL by HTTP', () => {
  const database = useDatabase()
  let server: RunningServer
  beforeAll(async () => {
    await seedOrganizations(database.ctx, sampleOrganizations)
    server = await start(createApp(appOptionsFor(database.ctx, { graphiql: true, log })))
  })
  afterAll(() => server.close(0))
  // Whatever a test has sent, the service goes on.
  afterEach(async () => {
    expect(await exchange(server, withLength('/graphql', '{"query":"{ __typename }"}', json))).toMatchObject({
      status: 200,
      json: { data: { __typename: 'Query' } },
    })
  })

  const json = 'content-type: application/json\r\n'
  const mutation = 'mutation { clearContacts(input: { organizationId: 1 }) { __typename } }'
  const badUserInput = { errors: [{ message: expect.any(String), extensions: { code: 'BAD_USER_INPUT' } }] }
  const refused = (request: Part[]) => unchanged(database, () => exchange(server, request))

  it.each(['application/json', 'application/json; charset=utf-8', 'Application/JSON'])('executes %s', async (type) => {
    const body = JSON.stringify({ query: '{ organization(id: 1) { name } }' })

    const answer = await exchange(server, withLength('/graphql', body, `content-type: ${type}\r\n`))

    expect(answer).toMatchObject({ status: 200, json: { data: { organization: { name: 'Best IT' } } } })
  })

  it.each([
    ['text/plain', JSON.stringify({ query: mutation })],
    ['application/x-www-form-urlencoded', `query=${encodeURIComponent(mutation)}`],
    [
      'multipart/form-data; boundary=x',
      `--x\r\ncontent-disposition: form-data; name="query"\r\n\r\n${mutation}\r\n--x--\r\n`,
    ],
    ['application/graphql', mutation],
    ['application/json-patch+json', JSON.stringify({ query: mutation })],
    ['', JSON.stringify({ query: mutation })],
  ])('does not execute what is sent as %j', async (type, body) => {
    const answer = await refused(withLength('/graphql', body, type && `content-type: ${type}\r\n`))

    expect(answer).toMatchObject({
      status: 415,
      json: {
        errors: [{ message: 'The content type must be application/json.', extensions: { code: 'BAD_USER_INPUT' } }],
      },
    })
  })

  it.each(['application/json', 'text/html', '*/*'])(
    'does not execute a mutation by GET that accepts %s',
    async (accept) => {
      const target = `/graphql?query=${encodeURIComponent(mutation)}`
      const request = `GET ${target} HTTP/1.1\r\nhost: gateway\r\naccept: ${accept}\r\nconnection: close\r\n\r\n`

      const answer = await unchanged(database, () => exchange(server, [request], { page: accept === 'text/html' }))

      // Browsers get GraphiQL with the document in its editor.
      if (accept === 'text/html') expect(answer.head).toMatch(/^content-type: text\/html/im)
      else {
        expect(answer).toMatchObject({ status: 405, json: badUserInput })
        expect(answer.head).toMatch(/^allow: POST$/im)
      }
    },
  )

  it('executes a query by GET', async () => {
    const target = `/graphql?query=${encodeURIComponent('{ organization(id: 1) { name } }')}`

    const answer = await exchange(server, [`GET ${target} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n`])

    expect(answer).toMatchObject({ status: 200, json: { data: { organization: { name: 'Best IT' } } } })
  })

  // PUT reserves a stream.
  it.each(['DELETE', 'PATCH', 'OPTIONS'])('does not take %s', async (method) => {
    const request = `${method} /graphql HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n`

    const answer = await refused([request])

    expect(answer).toMatchObject({ status: 405, json: badUserInput })
    expect(answer.head).not.toMatch(/^access-control-/im)
  })

  it.each([
    '',
    '{',
    'null',
    '1',
    '"{ __typename }"',
    '[]',
    JSON.stringify([{ query: mutation }, { query: mutation }]),
    '{}',
    '{"variables":{}}',
    '{"query":null}',
    '{"query":1}',
    '{"query":["{ __typename }"]}',
    '{"query":"{ __typename }","variables":[]}',
    '{"query":"{ __typename }","variables":"{}"}',
    '{"query":"{ __typename }","extensions":1}',
    '{"query":"{ __typename }","more":1}',
    '{"query":"query A { __typename } query B { __typename }"}',
    '{"query":"query A { __typename }","operationName":"B"}',
  ])('refuses the body %s', async (body) => {
    const answer = await refused(withLength('/graphql', body, json))

    expect(answer).toMatchObject({ status: 400, json: badUserInput })
  })

  it.each([
    ['too large', Buffer.alloc(maxBodyBytes + 1, ' '), 413],
    ['not UTF-8', Buffer.from([0xff]), 400],
  ])('refuses a body that is %s in the form of GraphQL', async (_, body, status) => {
    const answer = await refused(withLength('/graphql', body, json))

    expect(answer).toMatchObject({ status, json: badUserInput })
  })

  it.each(['', '?variables={}', '?query={__typename}&variables={', '?query={__typename}&variables=1'])(
    'refuses the address /graphql%s',
    async (search) => {
      const answer = await refused([`GET /graphql${search} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n`])

      expect(answer).toMatchObject({ status: 400, json: badUserInput })
    },
  )

  it.each([
    ['fields of 20,000 levels', `${'{a'.repeat(20_000)}${'}'.repeat(20_000)}`],
    ['lists of 20,000 levels', `{ nodes(ids: ${'['.repeat(20_000)}${']'.repeat(20_000)}) { id } }`],
    ['100,000 fields that are none', `{${' a'.repeat(100_000)} }`],
  ])('survives a document of %s', async (_, query) => {
    const answer = await refused(withLength('/graphql', JSON.stringify({ query }), json))

    expect(answer.json).toEqual({
      errors: [{ message: expect.any(String), extensions: expect.objectContaining({ code: 'QUERY_TOO_COMPLEX' }) }],
    })
  })

  it('survives variables of 100,000 levels', async () => {
    const body = `{"query":"{ __typename }","variables":{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`

    const answer = await refused(withLength('/graphql', body, json))

    expect(answer).toMatchObject({ status: 200, json: { data: { __typename: 'Query' } } })
  })

  it.each(['/nowhere', '/graphql/', '/graphql/x', '/Graphql', '/.env', '/../package.json'])(
    'has nothing at %s',
    async (path) => {
      const answer = await exchange(server, [`GET ${path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n`])

      expect(answer).toMatchObject({ status: 404, json: { message: 'Not Found' } })
    },
  )

  it('leads browsers from / to GraphiQL', async () => {
    const answer = await exchange(server, ['GET / HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n'])

    expect(answer.status).toBe(302)
    expect(answer.head).toMatch(/^location: \/graphql$/im)
  })
})

const head = (path: string, headers: string) =>
  `POST ${path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n${headers}\r\n`

function withLength(path: string, body: Part, headers = ''): Part[] {
  return [head(path, `${headers}content-length: ${Buffer.byteLength(body)}\r\n`), body]
}

function inChunks(path: string, ...chunks: Buffer[]): Part[] {
  const framed = chunks
    .filter(({ length }) => length > 0)
    .flatMap((chunk) => [`${chunk.length.toString(16)}\r\n`, chunk, '\r\n'])
  return [head(path, 'transfer-encoding: chunked\r\n'), ...framed, '0\r\n\r\n']
}
