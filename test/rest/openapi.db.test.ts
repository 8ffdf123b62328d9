import { Validator } from '@seriousme/openapi-schema-validator'
import { describe, expect, it } from 'vitest'
import { channelLabels } from '../../src/db/tables.ts'
import { restRoutes } from '../../src/rest/handler.ts'
import { openApiDocument } from '../../src/rest/openapi.ts'
import { appFor } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'

const database = useDatabase()
const get = (path: string, accept = '*/*') => {
  return appFor(database.ctx).handle(new Request(`http://127.0.0.1:4000/v1${path}`, { headers: { accept } }))
}

describe('the OpenAPI document', () => {
  it('is valid', async () => {
    const validator = new Validator()
    const result = await validator.validate(openApiDocument())

    expect(result).toEqual({ valid: true })
    expect(validator.version).toBe('3.1')
  })

  it('tells every call that there is, and no other', () => {
    const told = Object.entries(openApiDocument().paths).flatMap(([path, item]) =>
      Object.keys(item)
        .filter((key) => key !== 'parameters')
        .map((method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`),
    )
    const served = restRoutes
      .map(({ method, path }) => `${method} ${path}`)
      .filter((route) => !/openapi|docs/.test(route))

    expect(told.sort()).toEqual(served.sort())
  })

  it('has the labels and lengths of each channel from the schemas that validate', () => {
    const { NewContact } = openApiDocument().components.schemas as unknown as Record<
      string,
      { anyOf: { required: string[]; properties: Record<string, { enum?: string[]; maxLength?: number }> }[] }
    >
    const told = NewContact!.anyOf.map(({ properties, required }) => [
      Object.keys(properties).find((name) => name in channelLabels),
      properties.label!.enum,
      required.toSorted(),
    ])

    expect(told).toEqual(
      Object.entries(channelLabels).map(([channel, labels]) => [channel, labels, ['label', channel].toSorted()]),
    )
    expect(
      NewContact!.anyOf.map(
        ({ properties }) =>
          properties.telephone?.maxLength ?? properties.email?.maxLength ?? properties.website?.maxLength,
      ),
    ).toEqual([255, 255, 255])
  })

  it('is served as it is printed', async () => {
    const response = await get('/openapi.json')

    expect(response.status).toBe(200)
    expect(await response.json()).toEqual(JSON.parse(JSON.stringify(openApiDocument())))
  })
})

describe('the reference page', () => {
  it('tells every call, and needs nothing from elsewhere', async () => {
    const response = await get('/docs', 'text/html,*/*;q=0.8')
    const page = await response.text()

    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'")
    for (const path of Object.keys(openApiDocument().paths)) expect(page).toContain(`<code>/v1${path}</code>`)
    expect(page).not.toMatch(/<script|src=|https?:\/\/(?!www\.best-it)/)
  })

  it('is refused to who takes JSON alone', async () => {
    expect((await get('/docs', 'application/json')).status).toBe(406)
  })
})
