import { type SQL, sql } from 'drizzle-orm'
import {
  type AnyPgColumn,
  bigint,
  boolean,
  check,
  customType,
  foreignKey,
  index,
  integer,
  json,
  pgEnum,
  pgTable,
  primaryKey,
  text,
  timestamp,
  unique,
} from 'drizzle-orm/pg-core'

/** The order of both enums is the order of a contact list: first by channel, then by label, then by id. */
export const contactChannel = pgEnum('contact_channel', ['telephone', 'email', 'website'])
export const contactLabel = pgEnum('contact_label', ['general', 'service_desk', 'fax', 'service_desk_fax'])

export type Channel = (typeof contactChannel.enumValues)[number]
export type Label = (typeof contactLabel.enumValues)[number]

/** Which labels each channel allows. The check on `contacts` and the inputs of every door derive from it. */
export const channelLabels = {
  telephone: ['general', 'service_desk', 'fax', 'service_desk_fax'],
  email: ['general', 'service_desk'],
  website: ['general', 'service_desk'],
} as const satisfies Record<Channel, readonly Label[]>

/** What a token may do. To write includes to read. */
export const permission = pgEnum('permission', [
  'organizations:read',
  'organizations:write',
  'contacts:read',
  'contacts:write',
])

export type Permission = (typeof permission.enumValues)[number]

/** Longest texts, in code points. */
export const maxLength = {
  accountName: 64,
  tokenName: 64,
  organizationName: 128,
  source: 30,
  sourceId: 128,
  contactValue: 255,
  idempotencyKey: 255,
}

/** Generated ids start here, so that sample data can carry the ids of its source. */
const firstGeneratedId = 1000

/** Compared byte by byte: the same order on every server and platform, and prefix searches can use the index. */
const binaryText = customType<{ data: string }>({ dataType: () => 'text collate "C"' })

/** The id of a transaction, which never comes again. */
const transactionId = customType<{ data: string }>({ dataType: () => 'xid8' })

/** Milliseconds, so that a JavaScript Date holds all of it and a cursor made from one is exact. */
const instant = (name: string) => timestamp(name, { withTimezone: true, precision: 3 }).notNull().defaultNow()

const lengthBetween = (column: AnyPgColumn, min: number, max: number): SQL =>
  sql`char_length(${column}) between ${sql.raw(String(min))} and ${sql.raw(String(max))}`

export const accounts = pgTable(
  'accounts',
  {
    id: bigint('id', { mode: 'number' }).primaryKey().generatedByDefaultAsIdentity(),
    name: binaryText('name').notNull(),
    createdAt: instant('created_at'),
  },
  (t) => [
    unique('accounts_name_key').on(t.name),
    check('accounts_name_length', lengthBetween(t.name, 1, maxLength.accountName)),
  ],
)

export const organizations = pgTable(
  'organizations',
  {
    accountId: bigint('account_id', { mode: 'number' }).notNull(),
    id: bigint('id', { mode: 'number' }).notNull().generatedByDefaultAsIdentity({ startWith: firstGeneratedId }),
    name: binaryText('name').notNull(),
    parentId: bigint('parent_id', { mode: 'number' }),
    disabled: boolean('disabled').notNull().default(false),
    source: text('source'),
    sourceId: text('source_id'),
    /** Counts the changes to the contacts. Every such change updates this row first, which also is its lock. */
    contactsRevision: bigint('contacts_revision', { mode: 'number' }).notNull().default(0),
    createdAt: instant('created_at'),
    updatedAt: instant('updated_at'),
  },
  (t) => [
    primaryKey({ name: 'organizations_pkey', columns: [t.accountId, t.id] }),
    unique('organizations_name_key').on(t.accountId, t.name),
    foreignKey({ name: 'organizations_account_fkey', columns: [t.accountId], foreignColumns: [accounts.id] }),
    foreignKey({
      name: 'organizations_parent_fkey',
      columns: [t.accountId, t.parentId],
      foreignColumns: [t.accountId, t.id],
    }),
    check('organizations_parent_not_self', sql`${t.parentId} <> ${t.id}`),
    check('organizations_name_length', lengthBetween(t.name, 1, maxLength.organizationName)),
    check('organizations_source_length', lengthBetween(t.source, 1, maxLength.source)),
    check('organizations_source_id_length', lengthBetween(t.sourceId, 1, maxLength.sourceId)),
    index('organizations_children_by_name').on(t.accountId, t.parentId, t.name),
    index('organizations_by_created').on(t.accountId, t.createdAt, t.id),
    index('organizations_by_updated').on(t.accountId, t.updatedAt, t.id),
    index('organizations_by_source').on(t.accountId, t.source, t.sourceId).where(sql`${t.sourceId} is not null`),
  ],
)

const labelFitsChannel = (channel: AnyPgColumn, label: AnyPgColumn): SQL =>
  // As text: a value that a migration has just added to an enum must not be used as such in the same transaction.
  sql.join(
    Object.entries(channelLabels).map(
      ([name, labels]) =>
        sql`(${channel}::text = ${sql.raw(`'${name}'`)} and ${label}::text in (${sql.raw(labels.map((l) => `'${l}'`).join(', '))}))`,
    ),
    sql` or `,
  )

export const contacts = pgTable(
  'contacts',
  {
    accountId: bigint('account_id', { mode: 'number' }).notNull(),
    id: bigint('id', { mode: 'number' }).notNull().generatedByDefaultAsIdentity({ startWith: firstGeneratedId }),
    organizationId: bigint('organization_id', { mode: 'number' }).notNull(),
    channel: contactChannel('channel').notNull(),
    label: contactLabel('label').notNull(),
    value: text('value').notNull(),
    integration: boolean('integration').notNull().default(false),
    version: integer('version').notNull().default(1),
    createdAt: instant('created_at'),
    updatedAt: instant('updated_at'),
  },
  (t) => [
    primaryKey({ name: 'contacts_pkey', columns: [t.accountId, t.id] }),
    foreignKey({
      name: 'contacts_organization_fkey',
      columns: [t.accountId, t.organizationId],
      foreignColumns: [organizations.accountId, organizations.id],
    }),
    check('contacts_value_length', lengthBetween(t.value, 1, maxLength.contactValue)),
    check('contacts_label_fits_channel', labelFitsChannel(t.channel, t.label)),
    check('contacts_version_positive', sql`${t.version} >= 1`),
    index('contacts_list_order').on(t.accountId, t.organizationId, t.channel, t.label, t.id),
  ],
)

/** One row per key under which a contact is found: a telephone text may hold several numbers (domain/lookup.ts). */
export const contactLookups = pgTable(
  'contact_lookups',
  {
    accountId: bigint('account_id', { mode: 'number' }).notNull(),
    channel: contactChannel('channel').notNull(),
    key: binaryText('key').notNull(),
    contactId: bigint('contact_id', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ name: 'contact_lookups_pkey', columns: [t.accountId, t.channel, t.key, t.contactId] }),
    foreignKey({
      name: 'contact_lookups_contact_fkey',
      columns: [t.accountId, t.contactId],
      foreignColumns: [contacts.accountId, contacts.id],
    }).onDelete('cascade'),
    index('contact_lookups_by_contact').on(t.accountId, t.contactId),
  ],
)

/**
 * What a write with a key has answered, for its repeats. The same statement that writes adds the row (domain/writes.ts).
 * `answer` is the list of the rows that it returned; as json and not jsonb, which would put their columns in another order.
 */
export const idempotencyKeys = pgTable(
  'idempotency_keys',
  {
    accountId: bigint('account_id', { mode: 'number' }).notNull(),
    key: binaryText('key').notNull(),
    /** SHA-256 of all that was asked for, in hexadecimal. */
    fingerprint: binaryText('fingerprint').notNull(),
    answer: json('answer').notNull(),
    createdAt: instant('created_at'),
  },
  (t) => [
    primaryKey({ name: 'idempotency_keys_pkey', columns: [t.accountId, t.key] }),
    foreignKey({ name: 'idempotency_keys_account_fkey', columns: [t.accountId], foreignColumns: [accounts.id] }),
    check('idempotency_keys_key_length', lengthBetween(t.key, 1, maxLength.idempotencyKey)),
    check('idempotency_keys_fingerprint_is_sha256', sql`${t.fingerprint} ~ '^[0-9a-f]{64}$'`),
    index('idempotency_keys_by_created').on(t.accountId, t.createdAt),
  ],
)

/** Of a token only its SHA-256 is kept, in hexadecimal: it is shown once, and cannot be read back. */
export const tokens = pgTable(
  'tokens',
  {
    id: bigint('id', { mode: 'number' }).primaryKey().generatedByDefaultAsIdentity(),
    name: text('name').notNull(),
    hash: binaryText('hash').notNull(),
    permissions: permission('permissions').array().notNull(),
    expiresAt: timestamp('expires_at', { withTimezone: true, precision: 3 }),
    lastUsedAt: timestamp('last_used_at', { withTimezone: true, precision: 3 }),
    revokedAt: timestamp('revoked_at', { withTimezone: true, precision: 3 }),
    createdAt: instant('created_at'),
  },
  (t) => [
    unique('tokens_hash_key').on(t.hash),
    check('tokens_hash_is_sha256', sql`${t.hash} ~ '^[0-9a-f]{64}$'`),
    check('tokens_name_length', lengthBetween(t.name, 1, maxLength.tokenName)),
  ],
)

/** The accounts that a token may use. */
export const tokenAccounts = pgTable(
  'token_accounts',
  {
    accountId: bigint('account_id', { mode: 'number' }).notNull(),
    tokenId: bigint('token_id', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ name: 'token_accounts_pkey', columns: [t.accountId, t.tokenId] }),
    foreignKey({ name: 'token_accounts_account_fkey', columns: [t.accountId], foreignColumns: [accounts.id] }),
    foreignKey({ name: 'token_accounts_token_fkey', columns: [t.tokenId], foreignColumns: [tokens.id] }),
    index('token_accounts_by_token').on(t.tokenId),
  ],
)

/** What callers have used up of their limits, where several processes share them. Rows of the past are removed in time. */
export const rateLimits = pgTable('rate_limits', {
  key: binaryText('key').primaryKey(),
  points: integer('points').notNull(),
  /** Milliseconds since 1970. */
  expire: bigint('expire', { mode: 'number' }),
})

/** A REST API that an account pulls from, and the pull that was begun last: it goes on where it was interrupted. */
export const pulls = pgTable(
  'pulls',
  {
    accountId: bigint('account_id', { mode: 'number' }).notNull(),
    id: bigint('id', { mode: 'number' }).notNull().generatedByDefaultAsIdentity(),
    /** The base address, and the account there. */
    origin: binaryText('origin').notNull(),
    startedAt: instant('started_at'),
    finishedAt: timestamp('finished_at', { withTimezone: true, precision: 3 }),
  },
  (t) => [
    primaryKey({ name: 'pulls_pkey', columns: [t.accountId, t.id] }),
    unique('pulls_origin_key').on(t.accountId, t.origin),
    foreignKey({ name: 'pulls_account_fkey', columns: [t.accountId], foreignColumns: [accounts.id] }),
  ],
)

/** Which organization here is which there. */
export const pulledOrganizations = pgTable(
  'pulled_organizations',
  {
    accountId: bigint('account_id', { mode: 'number' }).notNull(),
    pullId: bigint('pull_id', { mode: 'number' }).notNull(),
    foreignId: bigint('foreign_id', { mode: 'number' }).notNull(),
    organizationId: bigint('organization_id', { mode: 'number' }).notNull(),
    /** What the other side last said, as it said it. */
    updatedAt: text('updated_at'),
    /** The same when the contacts were read last, with the tag of their list, and when that was. */
    contactsOf: text('contacts_of'),
    etag: text('etag'),
    contactsAt: timestamp('contacts_at', { withTimezone: true, precision: 3 }),
  },
  (t) => [
    primaryKey({ name: 'pulled_organizations_pkey', columns: [t.accountId, t.pullId, t.foreignId] }),
    foreignKey({
      name: 'pulled_organizations_pull_fkey',
      columns: [t.accountId, t.pullId],
      foreignColumns: [pulls.accountId, pulls.id],
    }),
    foreignKey({
      name: 'pulled_organizations_organization_fkey',
      columns: [t.accountId, t.organizationId],
      foreignColumns: [organizations.accountId, organizations.id],
    }),
  ],
)

/** Which contact here is which there. */
export const pulledContacts = pgTable(
  'pulled_contacts',
  {
    accountId: bigint('account_id', { mode: 'number' }).notNull(),
    pullId: bigint('pull_id', { mode: 'number' }).notNull(),
    foreignId: bigint('foreign_id', { mode: 'number' }).notNull(),
    contactId: bigint('contact_id', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ name: 'pulled_contacts_pkey', columns: [t.accountId, t.pullId, t.foreignId] }),
    foreignKey({
      name: 'pulled_contacts_pull_fkey',
      columns: [t.accountId, t.pullId],
      foreignColumns: [pulls.accountId, pulls.id],
    }),
    foreignKey({
      name: 'pulled_contacts_contact_fkey',
      columns: [t.accountId, t.contactId],
      foreignColumns: [contacts.accountId, contacts.id],
    }).onDelete('cascade'),
    index('pulled_contacts_by_contact').on(t.accountId, t.contactId),
  ],
)

/**
 * What a statement has changed in the contacts of an organization. The statement itself adds the row, and takes its id while
 * it holds the organization: ids of one organization are in the order in which they were committed. Which of them somebody has
 * seen is told by `xid` and the snapshot with which they were read. Rows of the past are removed in time.
 */
export const contactEvents = pgTable(
  'contact_events',
  {
    accountId: bigint('account_id', { mode: 'number' }).notNull(),
    id: bigint('id', { mode: 'number' }).notNull().generatedByDefaultAsIdentity(),
    organizationId: bigint('organization_id', { mode: 'number' }).notNull(),
    xid: transactionId('xid').notNull().default(sql`pg_current_xact_id()`),
    /** A list of `{"added" | "updated" | "removed": contact}` and `{"cleared": [id]}`, contacts as their row was. */
    changes: json('changes').notNull(),
    createdAt: instant('created_at'),
  },
  (t) => [
    primaryKey({ name: 'contact_events_pkey', columns: [t.accountId, t.xid, t.id] }),
    // Rows come in this order anyway, so a few marks tell where the past ends.
    index('contact_events_by_created').using('brin', t.createdAt),
  ],
)

/** On which processes are notified of events; the payload is the id of the account. */
export const eventChannel = 'contact_events'

/** Until when the events of an account were removed. */
export const contactEventHorizons = pgTable('contact_event_horizons', {
  accountId: bigint('account_id', { mode: 'number' }).primaryKey(),
  removedUntil: timestamp('removed_until', { withTimezone: true, precision: 3 }).notNull(),
})

/** Which processes are to be notified of the events of an account. */
export const contactListeners = pgTable(
  'contact_listeners',
  {
    accountId: bigint('account_id', { mode: 'number' }).notNull(),
    listener: binaryText('listener').notNull(),
    expiresAt: timestamp('expires_at', { withTimezone: true, precision: 3 }).notNull(),
  },
  (t) => [primaryKey({ name: 'contact_listeners_pkey', columns: [t.accountId, t.listener] })],
)
