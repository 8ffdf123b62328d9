import { type SQL, sql } from 'drizzle-orm'
import { defineStatement, type ParameterValue, param, type Statement } from '../db/statement.ts'
import { contactEvents, contactListeners, eventChannel, idempotencyKeys } from '../db/tables.ts'
import type { Context } from './context.ts'
import { KeyReusedError } from './errors.ts'

/** How long the answer to a key is kept, as PostgreSQL has it. */
const kept = sql.raw("interval '24 hours'")
/** How many answers that have expired a write with a key removes: more than it adds, so that they cannot pile up. */
const removedAtOnce = sql.raw('10')

/** The statement of a write verb, and the same with a key: it does nothing again, and keeps its answer. */
export interface Write<Parameters, Row> {
  readonly plain: Statement<Parameters, Row>
  readonly keyed: Statement<KeyedParameters, Kept>
}

type KeyedParameters = Record<string, ParameterValue>

/** An answer as it is kept: for each row its cells by their column, in the order of the columns. */
interface Kept {
  fingerprint: string
  rows: Record<string, unknown>[]
}

/** What the first part of a write adds to its condition, so that it finds nothing to write when an answer is recalled. */
export interface Unless {
  readonly where: SQL
  readonly and: SQL
}

const nothing = sql``
const isNew = sql`not exists (select from recalled)`

/**
 * The part of a statement that tells what it has changed, by a query for accounts, organizations and lists of changes. Who
 * listens to the account is notified. Where nobody does, nobody is notified: commits that
 * notify wait for each other. Whoever has begun to listen meanwhile looks again without.
 */
export const told = (changes: SQL) =>
  sql`told as (
    insert into ${contactEvents} as e (account_id, organization_id, changes) ${changes}
    returning (
      select pg_notify(${sql.raw(`'${eventChannel}'`)}, e.account_id::text) from ${contactListeners} l
      where l.account_id = e.account_id and l.expires_at > now() limit 1
    )
  )`

/** The change of one contact, which is a row of a part of this name. */
export const changeOf = (kind: 'added' | 'updated' | 'removed', from: string) =>
  sql.raw(`json_build_object('${kind}', row_to_json(${from}))`)

/** The same where each row of the part is the only change to its organization. */
const oneChange = (kind: 'added' | 'updated' | 'removed', from: string) =>
  told(sql`select account_id, organization_id, json_build_array(${changeOf(kind, from)}) from ${sql.raw(from)}`)

/** What is told of statements that change one contact, which is a row of the part of that name. */
export const toldOf = {
  added: oneChange('added', 'added'),
  updated: oneChange('updated', 'updated'),
  removed: oneChange('removed', 'removed'),
}

const account = param('account', 'bigint')
const key = param('key', 'text')
const fingerprint = param('fingerprint', 'text')

/**
 * Defines the statement of a write verb from its common table expressions, all of which begin with what the first of them
 * finds, and the query that answers. Its columns need names that differ, and `row` takes instants also as texts.
 */
export function defineWrite<Parameters extends Record<string, ParameterValue>, Row>(
  name: string,
  partsOf: (unless: Unless) => { with?: SQL; answer: SQL },
  row: Statement<Parameters, Row>['row'],
): Write<Parameters, Row> {
  const plain = partsOf({ where: nothing, and: nothing })
  const once = partsOf({ where: sql` where ${isNew}`, and: sql` and ${isNew}` })
  return {
    plain: defineStatement(name, plain.with ? sql`with ${plain.with} ${plain.answer}` : plain.answer, row),
    keyed: defineStatement<KeyedParameters, Kept>(
      `${name}_once`,
      sql`with recalled as materialized (
          select * from recall_answer(${account}, ${key}, ${kept})
        ), ${once.with ? sql`${once.with}, ` : nothing}answer as (
          ${once.answer}
        ), stored as (
          insert into ${idempotencyKeys} (account_id, key, fingerprint, answer)
          select ${account}, ${key}, ${fingerprint}, coalesce(json_agg(row_to_json(answer)), '[]') from answer
          having ${isNew}
          on conflict (account_id, key) do update
          set fingerprint = excluded.fingerprint, answer = excluded.answer, created_at = excluded.created_at
          returning fingerprint, answer
        ), expired as (
          delete from ${idempotencyKeys} where account_id = ${account} and key = any(array(
            select key from ${idempotencyKeys}
            where account_id = ${account} and created_at <= now() - ${kept} and key <> ${key} and ${isNew}
            order by created_at limit ${removedAtOnce} for update skip locked
          ))
        )
        select fingerprint, answer from recalled union all select fingerprint, answer from stored`,
      ([fingerprint, rows]) => ({ fingerprint, rows }),
      true,
    ),
  }
}

/** Runs a write: with a key only once, and then its first answer is returned again. */
export async function runWrite<Parameters extends Record<string, ParameterValue>, Row>(
  { db, account, once }: Context,
  { plain, keyed }: Write<Parameters, Row>,
  parameters: Parameters,
): Promise<Row[]> {
  if (!once) return db.run(plain, parameters)
  const [answer] = await db.run(keyed, { ...parameters, account, ...once })
  if (answer!.fingerprint !== once.fingerprint) throw new KeyReusedError()
  return answer!.rows.map((cells) => plain.row(Object.values(cells)))
}
