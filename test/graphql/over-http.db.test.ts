import { serverAudits } from 'graphql-http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createApp } from '../../src/app.ts'
import { listen, type RunningServer } from '../../src/http/server.ts'
import { appOptionsFor, serverOptions } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'

const database = useDatabase()
let server: RunningServer
beforeAll(async () => {
  server = await listen({ ...serverOptions, handler: createApp(appOptionsFor(database.ctx)) })
})
afterAll(() => server?.close(0))

describe('GraphQL over HTTP', () => {
  // The address is read when an audit runs, not when it is listed.
  const audits = serverAudits({ url: () => `${server.url}/graphql` })

  it('is audited in all that the specification says that servers must, should and may do', () => {
    const levels = audits.map(({ name }) => name.split(' ', 1)[0])

    expect(new Set(levels)).toEqual(new Set(['MUST', 'SHOULD', 'MAY']))
    expect(audits.length).toBeGreaterThanOrEqual(61)
  })

  it.each(audits)('$name ($id)', async (audit) => {
    expect(await audit.fn()).toEqual({ id: audit.id, name: audit.name, status: 'ok' })
  })
})
