import { type AddressInfo, createServer } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, it, vi } from 'vitest'
import {
  type Answer,
  Client,
  type ClientOptions,
  SourceError,
  SourceRefused,
  SourceSettingError,
} from '../../src/pull/client.ts'
import { answer, cut, hangUp, onceSettled, type RestSource, startRestSource } from './rest-source.ts'
import { Simulation } from './simulation.ts'

const { signal } = new AbortController()
/** A busy machine is no reason to fail. */
const patience = { timeout: 20_000 }

function clientOf(source: RestSource, given: Partial<ClientOptions> = {}) {
  const clock = new Simulation()
  const retries: [reason: string, ms: number][] = []
  const client = new Client({
    url: source.url,
    token: source.token,
    clock,
    random: () => 1,
    onRetry: (reason, ms) => retries.push([reason.replace(source.url, ''), ms]),
    ...given,
  })
  const get = (path: string, etag?: string | null) => clock.run(client.get(client.at(path), { signal, etag }))
  const pages = async (path: string) => {
    const answers: Answer[] = []
    const read = async () => {
      for await (const page of client.pages(client.at(path), { signal })) answers.push(page)
    }
    await clock.run(read())
    return answers
  }
  return { client, clock, retries, get, pages }
}

/** One on which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

describe('the address to pull from', () => {
  it.each([
    ['https://api.example.com', 'https://api.example.com/v1'],
    ['https://api.example.com/', 'https://api.example.com/v1'],
    ['https://api.example.com/rest/v2/', 'https://api.example.com/rest/v2'],
    ['http://localhost:4000', 'http://localhost:4000/v1'],
    ['http://127.0.0.1:4000/v1', 'http://127.0.0.1:4000/v1'],
    ['http://[::1]:4000', 'http://[::1]:4000/v1'],
  ])('%s means %s', (url, base) => {
    expect(new Client({ url }).base.href).toBe(base)
  })

  it.each(['example.com', 'ftp://example.com', '', 'https://'])('%j is none', (url) => {
    expect(() => new Client({ url })).toThrow('The address to pull from must be as https://api.example.com/v1.')
  })

  it.each(['http://example.com', 'http://localhost.example.com', 'http://127.0.0.1.example.com', 'http://10.0.0.1'])(
    '%s would show the token to the net, and must be meant',
    (url) => {
      expect(() => new Client({ url })).toThrow(SourceSettingError)
      expect(new Client({ url, allowHttp: true }).base.href).toBe(`${url}/v1`)
    },
  )

  it('holds no secret, and does not show one that it holds', () => {
    const fault = () => new Client({ url: 'https://me:secret@example.com/v1' })

    expect(fault).toThrow('The address must hold no user name or password: the token comes by PULL_TOKEN.')
  })

  it.each(['https://example.com/v1?a=1', 'https://example.com/v1#a'])('%s has too much at its end', (url) => {
    expect(() => new Client({ url })).toThrow('no "?" and no "#"')
  })
})

describe('what is sent', () => {
  it('has the token, and the account on the other side', async () => {
    const source = await startRestSource()
    const { get } = clientOf(source, { account: 'Best IT' })

    expect(await get('/organizations')).toMatchObject({ status: 200, body: [] })
    expect(source.requests.map(({ headers }) => [headers.authorization, headers['x-xurrent-account']])).toEqual([
      [`Bearer ${source.token}`, 'Best IT'],
    ])
  })

  it.each(['', 'two words', 'line\nbreak', 'ümlaut'])('cannot have the token %j, which no message repeats', (token) => {
    const fault = () => new Client({ url: 'https://example.com', token })

    expect(fault).toThrow('PULL_TOKEN is empty or holds what no token has, as a space or a line break.')
  })

  it.each(['', ' ', 'a\nb', 'ümlaut', ' a'])('cannot have the account %j', (account) => {
    expect(() => new Client({ url: 'https://example.com', account })).toThrow(SourceSettingError)
  })

  it('stays within the limits', async () => {
    const source = await startRestSource()
    const everyone = Promise.withResolvers<void>()
    source.before = () => {
      if (source.underWay === 3) everyone.resolve()
      return everyone.promise
    }
    const { client, clock } = clientOf(source, { limits: { windows: [{ requests: 5, ms: 2000 }], concurrency: 3 } })

    await clock.run(Promise.all(Array.from({ length: 12 }, () => client.get(client.at('/organizations'), { signal }))))

    expect(source.mostAtOnce).toBe(3)
    expect(clock.now()).toBeGreaterThanOrEqual(4000)
    expect(client.requests).toBe(12)
  })
})

describe('an answer', () => {
  it('that is known is asked for by its tag, and not sent again', async () => {
    const source = await startRestSource()
    source.add()
    const { client, get } = clientOf(source)
    const { etag } = await get('/organizations')

    expect(await get('/organizations', etag)).toMatchObject({ status: 304, body: undefined })
    source.add()
    expect(await get('/organizations', etag)).toMatchObject({ status: 200, total: 2 })
    expect(client.notModified).toBe(1)
  })

  it('may be that there is no such thing', async () => {
    const { get } = clientOf(await startRestSource())

    expect(await get('/organizations/7')).toMatchObject({ status: 404 })
  })

  it('may be that the question was wrong', async () => {
    const { get } = clientOf(await startRestSource())

    expect(await get('/organizations?fields=id,colour')).toMatchObject({
      status: 400,
      body: { message: 'Unknown fields: colour' },
    })
  })

  it.each([
    [401, 'The source did not accept the token (401): check PULL_TOKEN.'],
    [403, /does not let the token read this \(403\)/],
  ])('%i ends it at once', async (status, message) => {
    const source = await startRestSource()
    source.fail(answer(status))
    const { get } = clientOf(source)

    const failed = get('/organizations')
    await expect(failed).rejects.toThrow(SourceRefused)
    await expect(failed).rejects.toThrow(message)
    expect(source.requests).toHaveLength(1)
  })

  it('is not looked for where a redirect leads', async () => {
    const [source, elsewhere] = [await startRestSource(), await startRestSource()]
    source.fail(answer(302, { location: `${elsewhere.url}/organizations` }))
    const { get } = clientOf(source)

    await expect(get('/organizations')).rejects.toThrow(
      /answered 302: redirects are not followed, since the token would go along\.$/,
    )
    expect(elsewhere.requests).toEqual([])
  })

  it.each([204, 206, 304, 410, 422])('%i is none that anybody asked for', async (status) => {
    const source = await startRestSource()
    source.fail(answer(status, {}, status === 204 || status === 304 ? '' : '{}'))
    const { get } = clientOf(source)

    await expect(get('/organizations')).rejects.toThrow(new RegExp(`answered ${status}\\.$`))
  })

  it('that is too large is not read to its end', async () => {
    const source = await startRestSource()
    source.fail(answer(200, {}, `[${' '.repeat(11 * 1024 * 1024)}]`))
    const { get } = clientOf(source)

    await expect(get('/organizations')).rejects.toThrow('answered with more than 10485760 bytes')
    expect(source.requests).toHaveLength(1)
  })
})

describe('a request is sent again', () => {
  it.each([
    ['429', answer(429), 'answered 429'],
    ['500', answer(500, {}, '<html>'), 'answered 500'],
    ['502', answer(502), 'answered 502'],
    ['503', answer(503), 'answered 503'],
    ['a cut answer', cut, 'failed (UND_ERR_SOCKET)'],
    ['no answer', hangUp, 'failed (UND_ERR_SOCKET)'],
    ['half of an answer', answer(200, {}, '[{"id":1,'), 'answered what is not JSON, or not all of it'],
    ['a page for people', answer(200, {}, '<html>'), 'answered what is not JSON, or not all of it'],
    ['an empty answer', answer(200, {}, ''), 'answered what is not JSON, or not all of it'],
  ])('after %s, each time later', async (_, fault, reason) => {
    const source = await startRestSource()
    source.add({ id: 7 })
    source.fail(fault, { times: 3 })
    const { get, retries } = clientOf(source)

    expect(await get('/organizations')).toMatchObject({ status: 200, body: [{ id: 7 }] })
    expect(retries).toEqual([500, 1000, 2000].map((ms) => [`GET /organizations ${reason}`, ms]))
  })

  it('after it took too long', async () => {
    const source = await startRestSource()
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    source.fail(onceSettled(ended))
    const { get, retries } = clientOf(source, { timeoutMs: 200 })

    expect(await get('/organizations')).toMatchObject({ status: 200 })
    end()
    expect(retries).toEqual([['GET /organizations took longer than 200 ms', 500]])
  })

  it('eight times, and then no more', async () => {
    const source = await startRestSource()
    source.fail(answer(500), { times: 100 })
    const { get, retries } = clientOf(source)

    const failed = get('/organizations')
    await expect(failed).rejects.toThrow(SourceError)
    await expect(failed).rejects.toThrow(/\/organizations answered 500, 9 times in a row\.$/)
    expect(source.requests).toHaveLength(9)
    expect(retries.map(([, ms]) => ms)).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000])
  })

  it('where there is no server', async () => {
    const source = await startRestSource()
    const port = await freePort()
    const { get, retries } = clientOf(source, { url: `http://127.0.0.1:${port}` })

    await expect(get('/organizations')).rejects.toThrow('failed (ECONNREFUSED), 9 times in a row.')
    expect(retries).toHaveLength(8)
  })

  it('at a time that chance decides about, so that not all come at once', async () => {
    const source = await startRestSource()
    source.fail(answer(500), { times: 2 })
    const chances = [0, 0.5]
    const { get, retries } = clientOf(source, { random: () => chances.shift()! })

    await get('/organizations')

    expect(retries.map(([, ms]) => ms)).toEqual([250, 750])
  })

  it.each([429, 503])('when a %i says so, and no other request before', async (status) => {
    const source = await startRestSource()
    source.fail(answer(status, { 'retry-after': '120' }), { on: /organizations\/1$/ })
    const { client, clock, retries } = clientOf(source, {
      limits: { windows: [{ requests: 100, ms: 1 }], concurrency: 1 },
    })
    const at: [string, number][] = []
    const get = async (path: string) => {
      await client.get(client.at(path), { signal })
      at.push([path, clock.now()])
    }

    await clock.run(Promise.all(['/organizations/1', '/organizations/2'].map(get)))

    expect(at.map(([, ms]) => ms)).toEqual([120_000, 120_000])
    expect(retries).toEqual([[`GET /organizations/1 answered ${status}`, 120_000]])
  })

  it('at the instant that is named, by the clock of the server', async () => {
    const source = await startRestSource()
    const date = 'Tue, 01 Jan 2030 00:00:00 GMT'
    source.fail(answer(503, { date, 'retry-after': 'Tue, 01 Jan 2030 00:00:30 GMT' }))
    const { get, retries } = clientOf(source)

    await get('/organizations')

    expect(retries.map(([, ms]) => ms)).toEqual([30_000])
  })

  it.each(['0', '-5', 'soon', '', 'Tue, 01 Jan 2019 00:00:00 GMT'])(
    'as if nothing were said where that says nothing: %j',
    async (header) => {
      const source = await startRestSource()
      source.fail(answer(429, { 'retry-after': header }))
      const { get, retries } = clientOf(source)

      await get('/organizations')

      expect(retries.map(([, ms]) => ms)).toEqual([500])
    },
  )

  it('within an hour, however long it is to wait', async () => {
    const source = await startRestSource()
    source.fail(answer(429, { 'retry-after': '99999999' }))
    const { get, retries } = clientOf(source)

    await get('/organizations')

    expect(retries.map(([, ms]) => ms)).toEqual([3_600_000])
  })
})

describe('pages', () => {
  it.each([false, true])('are followed to the last, by links (relative ones: %s)', async (hasRelativeLinks) => {
    const source = await startRestSource()
    source.hasRelativeLinks = hasRelativeLinks
    for (let id = 1; id <= 45; id += 1) source.add({ id })
    const { pages } = clientOf(source)

    const read = await pages('/organizations?fields=id')

    expect(read.flatMap(({ body }) => body)).toEqual(Array.from({ length: 45 }, (_, i) => ({ id: i + 1 })))
    expect(read.map(({ total, perPage }) => [total, perPage])).toEqual([
      [45, 20],
      [45, 20],
      [45, 20],
    ])
  })

  it('are asked for again where one was cut', async () => {
    const source = await startRestSource()
    for (let id = 1; id <= 45; id += 1) source.add({ id })
    source.fail(cut, { on: /search_after/ })
    const { pages } = clientOf(source)

    expect((await pages('/organizations')).flatMap(({ body }) => body)).toHaveLength(45)
  })

  it.each(['http://localhost:1/v1/organizations', '//elsewhere.example/v1', 'https://127.0.0.1/', 'http://:0'])(
    'are not followed to %s, where the token would go along',
    async (target) => {
      const source = await startRestSource()
      source.fail(answer(200, { link: `<${target}>; rel="next"` }, '[]'))
      const { pages } = clientOf(source)

      await expect(pages('/organizations')).rejects.toThrow(/names a next page elsewhere/)
      expect(source.requests).toHaveLength(1)
    },
  )

  it('that lead back to one of them are refused', async () => {
    const source = await startRestSource()
    source.fail(answer(200, { link: '</v1/organizations?page=2>; rel=next' }, '[]'))
    source.fail(answer(200, { link: '</v1/organizations>; rel=next' }, '[]'), { on: /page=2/ })
    const { pages } = clientOf(source)

    await expect(pages('/organizations')).rejects.toThrow(/leads back to itself/)
    expect(source.requests).toHaveLength(2)
  })
})

describe('the signal', () => {
  it('ends a request that is under way', async () => {
    const source = await startRestSource()
    const { promise: never } = Promise.withResolvers<void>()
    source.fail(onceSettled(never))
    const stop = new AbortController()
    const { client } = clientOf(source)

    const asked = client.get(client.at('/organizations'), { signal: stop.signal })
    await vi.waitUntil(() => source.underWay === 1, patience)
    stop.abort(new Error('stopped'))

    await expect(asked).rejects.toThrow('stopped')
    await vi.waitUntil(() => source.underWay === 0, patience)
  })

  it('ends a wait before the next try', async () => {
    const source = await startRestSource()
    source.fail(answer(500), { times: 9 })
    const stop = new AbortController()
    const { client, retries } = clientOf(source)

    const asked = client.get(client.at('/organizations'), { signal: stop.signal })
    await vi.waitUntil(() => retries.length === 1, patience)
    stop.abort(new Error('stopped'))

    await expect(asked).rejects.toThrow('stopped')
    await setImmediate()
    expect(source.requests).toHaveLength(1)
  })
})

describe('the token', () => {
  it('is in no message, even where the other side repeats it', async () => {
    const source = await startRestSource()
    const echo = `/v1/organizations?token=${source.token}`
    source.fail(answer(200, { link: `<${echo}>; rel=next` }, '[]'), { times: 1, on: /organizations$/ })
    source.fail(answer(500, {}, source.token), { times: 9, on: /token/ })
    const { pages, retries } = clientOf(source)

    const failed = pages('/organizations')
    await expect(failed).rejects.toThrow('?token=… answered 500')
    await failed.catch((error: Error) => expect(`${error.message}${error.stack}`).not.toContain(source.token))
    expect(JSON.stringify(retries)).not.toContain(source.token)
  })
})
