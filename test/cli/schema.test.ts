import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { useGateways } from '../support/gateway.ts'

const gateways = useGateways()
const committed = (name: string) => readFile(new URL(`../../${name}`, import.meta.url), 'utf8')

describe('schema', () => {
  it.each([
    [[], 'schema.graphql'],
    [['--possible-types'], 'possibleTypes.json'],
    [['--introspection'], 'schema.introspection.json'],
  ])('prints with %j what %s has', async (options, name) => {
    const ended = await gateways.run(['schema', ...options])

    expect(ended).toEqual({ code: 0, signal: null, stdout: await committed(name), stderr: '' })
  })

  it('prints one thing at a time', async () => {
    const ended = await gateways.run(['schema', '--possible-types', '--introspection'])

    expect(ended).toMatchObject({ code: 2, stdout: '' })
    expect(ended.stderr).toContain('cannot be used with')
  })
})
