import { buildSchema } from 'graphql'
import { afterEach, describe, expect, it } from 'vitest'
import type { AppOptions } from '../../src/app.ts'
import { missingToken } from '../../src/auth/authenticate.ts'
import { createRateLimiter } from '../../src/auth/rate-limit.ts'
import type { Database } from '../../src/db/client.ts'
import { allPermissions } from '../../src/domain/context.ts'
import { createSchema, printSortedSchema } from '../../src/graphql/schema.ts'
import { listen, type RunningServer } from '../../src/http/server.ts'
import { appOptionsFor, createWebApp, serverOptions } from '../support/app.ts'

let server: RunningServer | undefined
afterEach(() => server?.close(0))

/** The address of the schema at a server that asks its database nothing for it. */
async function serve(given: Partial<AppOptions> = {}): Promise<string> {
  const options = appOptionsFor({ db: {} as Database, account: 1, permissions: new Set() }, given)
  server = await listen({ ...serverOptions, handler: createWebApp(options).handler })
  return `${server.url}/schema.graphql`
}

const json = async (response: Response) => ({
  status: response.status,
  type: response.headers.get('content-type'),
  body: await response.json(),
})
const jsonType = 'application/json; charset=utf-8'

describe('/schema.graphql', () => {
  it('is the schema as a text that tools can read, whatever the caller may do', async () => {
    const response = await fetch(await serve())
    const text = await response.text()

    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    expect(response.headers.get('cache-control')).toBe('private, no-cache')
    expect(text).toBe(printSortedSchema(createSchema()))
    expect(buildSchema(text).getQueryType()?.name).toBe('Query')
  })

  it('is the schema of a subgraph where it serves as one', async () => {
    const text = await (await fetch(await serve({ federation: true }))).text()

    expect(buildSchema(text).getQueryType()?.getFields()).toHaveProperty('_entities')
  })

  it('is not sent again to who has it', async () => {
    const url = await serve()
    const etag = (await fetch(url)).headers.get('etag')!

    const again = await fetch(url, { headers: { 'if-none-match': `"another", ${etag}` } })
    const other = await fetch(url, { headers: { 'if-none-match': '"another"' } })

    expect(etag).toMatch(/^W\/"[\w-]+"$/)
    expect([again.status, again.headers.get('etag'), await again.text()]).toEqual([304, etag, ''])
    expect([other.status, other.headers.get('etag')]).toEqual([200, etag])
  })

  it('tells its length and its tag by HEAD', async () => {
    const url = await serve()
    const get = await fetch(url)
    const { byteLength } = await get.arrayBuffer()

    const head = await fetch(url, { method: 'HEAD' })

    expect(head.status).toBe(200)
    expect(head.headers.get('content-length')).toBe(`${byteLength}`)
    expect(head.headers.get('etag')).toBe(get.headers.get('etag'))
    expect(await head.text()).toBe('')
  })

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('takes no %s', async (method) => {
    const response = await fetch(await serve(), { method })

    expect(response.headers.get('allow')).toBe('GET, HEAD')
    expect(await json(response)).toEqual({ status: 405, type: jsonType, body: { message: 'Method Not Allowed' } })
  })

  it('is refused where introspection is', async () => {
    const url = await serve({ introspection: false })

    const response = await fetch(url)
    const head = await fetch(url, { method: 'HEAD' })

    const body = { message: 'The schema is not shown: introspection is off.' }
    expect(await json(response)).toEqual({ status: 403, type: jsonType, body })
    expect(head.status).toBe(403)
  })

  it.each([true, false])('is for those alone who may enter; introspection is on: %s', async (introspection) => {
    const authenticate: AppOptions['authenticate'] = async (headers) => {
      if (!headers.get('authorization')) throw missingToken()
      return { account: 1, permissions: allPermissions, key: undefined }
    }
    const url = await serve({ authenticate, introspection })

    const stranger = await fetch(url)
    const known = await fetch(url, { headers: { authorization: 'Bearer any' } })

    expect(stranger.headers.get('www-authenticate')).toContain('Bearer')
    expect(await json(stranger)).toEqual({ status: 401, type: jsonType, body: { message: 'Unauthorized' } })
    expect(known.status).toBe(introspection ? 200 : 403)
  })

  it('counts as a request of its caller', async () => {
    const url = await serve({
      limiter: createRateLimiter({ requests: 1, nodes: 1, concurrent: 1, streams: 1 }, undefined),
    })
    const first = await fetch(url)

    const second = await fetch(url)

    expect(first.headers.get('ratelimit-remaining')).toBe('0')
    expect(second.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(await json(second)).toEqual({ status: 429, type: jsonType, body: { message: 'Too Many Requests' } })
  })

  it('is answered in time as JSON', async () => {
    const url = await serve({ deadlines: { requestMs: 50 }, authenticate: () => new Promise(() => {}) })

    expect(await json(await fetch(url))).toEqual({ status: 504, type: jsonType, body: { message: 'Gateway Timeout' } })
  })

  it('is refused as JSON to who sends too much', async () => {
    const response = await fetch(await serve(), { method: 'POST', body: ' '.repeat(serverOptions.maxBodyBytes + 1) })

    expect(await json(response)).toMatchObject({ status: 413, type: jsonType, body: { message: expect.any(String) } })
  })
})
