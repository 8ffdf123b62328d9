import { request } from 'node:http'
import { connect } from 'node:net'
import { text as readText } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createApp } from '../../src/app.ts'
import { listen, type RunningServer } from '../../src/http/server.ts'
import { appOptionsFor, serverOptions } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'
import { anOrganization } from '../support/factory.ts'
import { unchanged } from '../support/state.ts'

const database = useDatabase()
let server: RunningServer
let path: string
beforeAll(async () => {
  server = await listen({ handler: createApp(appOptionsFor(database.ctx)), ...serverOptions })
  path = `/v1/organizations/${(await anOrganization(database.ctx)).id}/contacts`
})
afterAll(() => server?.close(0))

/** Sends a request as it is: nothing is normalized on the way. */
async function send(method: string, target: string, body: string | Buffer = '') {
  const { hostname, port } = new URL(server.url)
  const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    request({ hostname, port, method, path: target, headers }, resolve).on('error', reject).end(body)
  })
  return { status: response.statusCode, body: JSON.parse(await readText(response)) }
}

const limit = 256 * 1024
const bodyOf = (bytes: number) => {
  const body = JSON.stringify({ label: 'general', email: 'a@b', padding: '' })
  return body.replace('"padding":""', `"padding":"${'x'.repeat(bytes - body.length)}"`)
}

describe('the REST API over HTTP', () => {
  it('takes a body of 256 KiB, and none that is a byte longer', async () => {
    const fits = await send('POST', path, bodyOf(limit))
    const tooLong = await unchanged(database, () => send('POST', path, bodyOf(limit + 1)))

    expect(fits.status).toBe(201)
    expect(tooLong).toEqual({
      status: 413,
      body: { message: `The body has at least ${limit + 1} bytes; at most ${limit} are allowed.` },
    })
  })

  it('takes no body that is not UTF-8', async () => {
    const body = Buffer.from('{"label":"general","email":"\xff@b"}', 'latin1')
    const answer = await unchanged(database, () => send('POST', path, body))
    const atTheTop = await send('POST', '/v1?page', body)

    expect(answer).toEqual({ status: 400, body: { message: 'Invalid JSON string posted' } })
    expect(atTheTop).toEqual(answer)
  })

  it.each([
    ['/v1/organizations/%zz/contacts', 400, 'Bad Request'],
    ['/v1/organizations/%ff/contacts', 400, 'Bad Request'],
    ['/v1/organizations/1%2F2/contacts', 404, 'Not Found'],
    ['/v1/organizations/../../v1/nothing', 404, 'Not Found'],
    ['/v1/organizations/%2e%2e/contacts', 404, 'Not Found'],
    ['/v1//contacts', 404, 'Not Found'],
    ['/v1', 404, 'Not Found'],
    ['/v1/', 404, 'Not Found'],
  ])('answers %s by %i', async (target, status, message) => {
    expect(await send('GET', target)).toEqual({ status, body: { message } })
  })

  it('links to where callers believe to be', async () => {
    const behindProxy = await listen({
      handler: createApp(appOptionsFor(database.ctx)),
      ...serverOptions,
      publicOrigin: 'https://api.example',
    })
    const links = async ({ url }: RunningServer) => (await fetch(url + path)).headers.get('link')

    expect(await links(server)).toBe(`<${server.url}${path}?per_page=100>; rel="first"`)
    expect(await links(behindProxy)).toBe(`<https://api.example${path}?per_page=100>; rel="first"`)
    await behindProxy.close(0)
  })

  it('takes no body that is encoded', async () => {
    const { hostname, port } = new URL(server.url)
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' }
    const response = await fetch(`http://${hostname}:${port}${path}`, { method: 'POST', headers, body: '{}' })

    expect([response.status, await response.json()]).toEqual([
      415,
      { message: 'The content encoding gzip is not taken; send the body as it is.' },
    ])
  })

  it('cuts off who sends requests without end and reads no answer', async () => {
    const { hostname, port } = new URL(server.url)
    const socket = connect(Number(port), hostname)
    socket.on('error', () => {})
    socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(200))
    await new Promise((resolve) => socket.once('close', resolve).resume())

    expect((await send('GET', path)).status).toBe(200)
  })

  it('answers in JSON what is no HTTP at all', async () => {
    const { hostname, port } = new URL(server.url)
    const socket = connect(Number(port), hostname)
    socket.end('BREW /v1 HTCPCP/1.0\r\n\r\n')
    const answer = await readText(socket)

    expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/)
    expect(answer).toContain('{"message":"The request is not valid HTTP."}')
  })

  it('names a method that there is not', async () => {
    expect(await send('TRACE', path)).toEqual({ status: 405, body: { message: 'The method TRACE is not allowed.' } })
  })
})
