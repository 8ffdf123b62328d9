import { expect, it, vi } from 'vitest'
import { executeAt, useGateways } from '../support/gateway.ts'
import { randomFrom } from '../support/random-document.ts'

vi.setConfig({ testTimeout: 600_000 })

const gateways = useGateways()

const add = `mutation ($value: String!) {
  addContact(input: { organizationId: 1, contact: { email: { label: GENERAL, value: $value } } }) { __typename }
}`
const list =
  '{ organization(id: 1) { contacts(filter: { channels: [EMAIL] }) { totalCount nodes { ... on EmailContact { email } } } } }'
const clear = 'mutation { clearContacts(input: { organizationId: 1 }) { __typename } }'

const rounds = Number(process.env.CRASH_ROUNDS ?? 3)
const writers = 4

it('the embedded database has every acknowledged write after SIGKILL, and nothing twice', async () => {
  const random = randomFrom(20_261_124)
  const env = { DATABASE_URL: `pglite:${await gateways.folder()}/data` }

  for (let round = 0; round < rounds; round += 1) {
    const { gateway, url } = await gateways.serve({ env })
    const execute = executeAt(url)
    await execute(clear)
    const acknowledged: string[] = []
    /** Of those that were not acknowledged, each writer's last one may be there. */
    const sent: string[] = []
    const killAt = 5 + Math.floor(random() * 40)
    const write = async (writer: number) => {
      for (let n = 0; ; n += 1) {
        const value = `${round}-${writer}-${n}@example.com`
        sent.push(value)
        const answer = await execute(add, { value }).catch(() => undefined)
        if (!answer) return
        expect(answer).toEqual({ data: { addContact: { __typename: 'AddContactSuccess' } } })
        acknowledged.push(value)
        if (acknowledged.length === killAt) gateway.signal('SIGKILL')
      }
    }

    await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)))
    await gateway.exited

    const again = await gateways.serve({ env })
    const { data } = await executeAt(again.url)(list)
    const found: string[] = data.organization.contacts.nodes.map(({ email }: { email: string }) => email)
    expect(found).toHaveLength(data.organization.contacts.totalCount)
    expect(acknowledged.filter((value) => !found.includes(value))).toEqual([])
    expect(found.filter((value) => !sent.includes(value))).toEqual([])
    expect(new Set(found).size).toBe(found.length)
    await again.gateway.stop()
  }
})
