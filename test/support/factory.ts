import type { Channel, Label } from '../../src/db/tables.ts'
import { addContact, type Contact } from '../../src/domain/contacts.ts'
import type { Context } from '../../src/domain/context.ts'
import { createOrganization, type Organization } from '../../src/domain/organizations.ts'

let made = 0

/** An organization with a name of its own. */
export function anOrganization(ctx: Context, given: Record<string, unknown> = {}): Promise<Organization> {
  made += 1
  return createOrganization(ctx, { name: `Organization ${made}`, ...given })
}

const values: Partial<Record<Channel, string>> = {
  telephone: '+1 203 413 4880',
  email: 'info@best-it.com',
  website: 'www.best-it.com',
}

export function aContact(
  ctx: Context,
  organizationId: number,
  given: { channel?: Channel; label?: Label; value?: string; integration?: boolean } = {},
): Promise<Contact> {
  const { channel = 'telephone', label = 'general', integration } = given
  const details = { label, value: given.value ?? values[channel], integration }
  return addContact(ctx, { organizationId, contact: { [channel]: details } })
}
