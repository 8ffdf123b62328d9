import { expect, test } from 'vitest'
import { plain } from './answers.ts'

test('what stacks call differently is the same, and what they say differently is not', () => {
  const contact = { channel: 'EMAIL', label: 'SERVICE_DESK', value: 'Info@Example', integration: false }
  const ours = {
    organization: {
      databaseId: 7,
      contacts: {
        nodes: [{ __typename: 'EmailContact', databaseId: 1, ...contact, createdAt: '2026-11-24T09:30:00.000Z' }],
      },
    },
  }
  const theirs = {
    organization: {
      rowId: '7',
      contacts: {
        nodes: [
          { createdAt: '2026-11-24T10:30:00+01:00', ...contact, channel: 'email', label: 'service_desk', rowId: '1' },
        ],
      },
    },
  }
  expect(plain(theirs)).toEqual(plain(ours))
  expect(plain({ value: 'a' })).not.toEqual(plain({ value: 'A' }))
  expect(plain([{ databaseId: 1 }, { databaseId: 2 }])).not.toEqual(plain([{ databaseId: 2 }, { databaseId: 1 }]))
})
