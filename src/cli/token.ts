import { Command, InvalidArgumentError } from 'commander'
import { permission } from '../db/tables.ts'
import { createToken, listTokens, revokeToken, type Token } from '../domain/tokens.ts'
import { withDatabase } from './database.ts'
import { OperatorError } from './failure.ts'
import { readInstant } from './instant.ts'
import { printTable } from './table.ts'

interface CreateOptions {
  account: string[]
  permission: string[]
  expires: Date | null
}

export function tokenCommand(env: NodeJS.ProcessEnv): Command {
  const command = new Command('token').description('Create, list and revoke the tokens of AUTH=token.')
  command
    .command('create <name>')
    .description('Create a token and print it: this once, since only its digest is kept.')
    .requiredOption('--account <name...>', 'the accounts that it may use')
    .requiredOption('--permission <permission...>', `what it may do: ${permission.enumValues.join(', ')}`)
    .option('--expires <when>', 'after so long (90d, 12h, 30m) or at an instant; never without it', parseExpiry, null)
    .action((name: string, { account, permission, expires }: CreateOptions) =>
      withDatabase(env, async (db) => {
        const { id, token } = await createToken(db, {
          name,
          accounts: account,
          permissions: permission,
          expiresAt: expires,
        })
        process.stderr.write(`Token ${id} was created. It is shown this once:\n`)
        process.stdout.write(`${token}\n`)
      }),
    )
  command
    .command('list')
    .description('List the tokens, without what only their holders know.')
    .action(() =>
      withDatabase(env, async (db) => {
        const rows = (await listTokens(db)).map((token) => [
          String(token.id),
          token.name,
          token.accounts.map(({ name }) => name).join(', '),
          token.permissions.join(', '),
          stateOf(token),
          token.lastUsedAt?.toISOString() ?? 'never',
        ])
        printTable(['id', 'name', 'accounts', 'permissions', 'state', 'last used'], rows)
      }),
    )
  command
    .command('revoke <id>')
    .description('Revoke a token for good. Running gateways notice within five seconds.')
    .action((id: string) =>
      withDatabase(env, async (db) => {
        const isId = /^[1-9]\d{0,14}$/.test(id)
        if (!isId || !(await revokeToken(db, Number(id))))
          throw new OperatorError(`There is no token with the id ${id}.`)
        process.stdout.write(`Token ${id} is revoked.\n`)
      }),
    )
  return command
}

function stateOf({ revokedAt, expiresAt }: Token): string {
  if (revokedAt) return `revoked ${revokedAt.toISOString()}`
  if (!expiresAt) return 'valid'
  return `${expiresAt.getTime() <= Date.now() ? 'expired' : 'valid until'} ${expiresAt.toISOString()}`
}

const units: Record<string, number> = { d: 86_400_000, h: 3_600_000, m: 60_000 }

function parseExpiry(text: string): Date {
  const [, count, unit] = /^(\d{1,6})([dhm])$/.exec(text) ?? []
  const at = unit === undefined ? readInstant(text) : new Date(Date.now() + Number(count) * units[unit]!)
  if (!at) throw new InvalidArgumentError('It must be a time such as 90d, 12h or 30m, or an instant.')
  return at
}
