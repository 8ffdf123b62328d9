import { sql } from 'drizzle-orm'
import { pino } from 'pino'
import { describe, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../src/db/client.ts'
import { DatabaseUnavailable } from '../../src/db/errors.ts'
import { defineStatement } from '../../src/db/statement.ts'
import { appFor, runningBy } from '../support/app.ts'
import { useDatabase } from '../support/database.ts'
import { testDeadlines } from '../support/deadlines.ts'
import { anOrganization } from '../support/factory.ts'
import type { Answer } from '../support/graphql.ts'

const database = useDatabase()
const secret = 'Nobody may read this name'

/** The text of an answer, and all that was logged meanwhile. */
async function ask(db: Database, query: string): Promise<{ answer: Answer; text: string; logged: string }> {
  let logged = ''
  const log = pino({ level: 'trace' }, { write: (line: string) => (logged += line) })
  const { handle } = appFor({ ...database.ctx, db }, { log })
  const response = await handle(
    new Request('http://gateway/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query }),
    }),
  )
  const text = await response.text()
  return { answer: JSON.parse(text), text, logged }
}

const rename = (from: string, to: string) =>
  database.db.run(defineStatement('test_rename', sql.raw(`alter table ${from} rename to ${to}`)), {})

describe('what goes wrong inside', () => {
  it('is masked, and logged without statement or values', async () => {
    await anOrganization(database.ctx, { name: secret })
    await rename('contact_lookups', 'elsewhere')
    const { answer, text, logged } = await ask(
      database.db,
      `mutation { addContact(input: { organizationId: 1000, contact: { email: { label: GENERAL, value: "${secret.replaceAll(' ', '')}@b" } } }) { __typename } }`,
    ).finally(() => rename('elsewhere', 'contact_lookups'))

    expect(answer).toEqual({
      data: null,
      errors: [
        {
          message: 'Unexpected error.',
          locations: expect.any(Array),
          path: ['addContact'],
          extensions: { code: 'INTERNAL_SERVER_ERROR', requestId: expect.any(String) },
        },
      ],
    })
    expect(text).not.toMatch(/lookups|select|insert|\.ts|node_modules/i)
    expect(logged).toContain('42P01')
    expect(logged).not.toMatch(/Nobodymay|insert into|select /i)
  })

  it('in the document is told with a code', async () => {
    for (const query of [
      '{',
      '{ nothing }',
      '{ organization(id: 1) }',
      'query($id: ID!) { organization(id: $id) { name } }',
    ]) {
      const { answer, logged } = await ask(database.db, query)

      expect(answer.errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }])
      expect(logged).toBe('')
    }
  })

  it('with the connection is an outage that says so, and nothing else', async () => {
    const nowhere = await openDatabase({
      url: 'postgres://somebody:password@127.0.0.1:1/nowhere',
      poolSize: 1,
      prepare: true,
      deadlines: testDeadlines,
    })
    const { answer, text } = await ask(nowhere, '{ organizations { totalCount } }').finally(() => nowhere.close())

    expect(answer.errors).toMatchObject([
      { message: 'The database is not available. Try again later.', extensions: { code: 'SERVICE_UNAVAILABLE' } },
    ])
    expect(text).not.toMatch(/ECONN|127\.0\.0\.1|password|nowhere/)
  })

  it('after a change is told as such: the change is done', async () => {
    const { id } = await anOrganization(database.ctx)
    const db = runningBy(database.db, (statement: { name: string }, parameters: never) =>
      statement.name === 'organizations_by_id'
        ? Promise.reject(new DatabaseUnavailable(new Error('gone')))
        : database.db.run(statement as never, parameters),
    )

    const { answer } = await ask(
      db,
      `mutation { clearContacts(input: { organizationId: ${id} }) {
        ... on ClearContactsSuccess { organization { name } }
      } }`,
    )

    expect(answer.errors).toMatchObject([
      {
        message: 'The database is not available. The change itself is done; only its answer could not be read.',
        path: ['clearContacts', 'organization'],
        extensions: { code: 'SERVICE_UNAVAILABLE' },
      },
    ])
  })
})
