import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { openDatabase } from '../../src/db/client.ts'
import { migrate } from '../../src/db/migrate.ts'
import { ensureAccount } from '../../src/domain/accounts.ts'
import { allPermissions } from '../../src/domain/context.ts'
import { encodeId } from '../../src/domain/ids.ts'
import { sampleOrganizations } from '../../src/domain/sample.ts'
import { seedOrganizations } from '../../src/domain/seed.ts'
import { testDeadlines } from '../support/deadlines.ts'
import { useGateways } from '../support/gateway.ts'

// A test starts several processes, each of which loads a database.
vi.setConfig({ testTimeout: 120_000 })

const gateways = useGateways()

/** A database with the sample, and another account, to be copied: making one takes far longer. */
let template: string
beforeAll(async () => {
  template = await mkdtemp(join(tmpdir(), 'contacts-gateway-template-'))
  const db = await openDatabase({
    url: `pglite:${join(template, 'data')}`,
    poolSize: 1,
    prepare: true,
    deadlines: testDeadlines,
  })
  try {
    await migrate(db)
    const permissions = allPermissions
    await seedOrganizations({ db, account: await ensureAccount(db, 'demo'), permissions }, sampleOrganizations)
    await seedOrganizations({ db, account: await ensureAccount(db, 'other'), permissions }, [
      { name: '=A, "B"', contacts: [{ channel: 'email', label: 'general', value: '+a@b' }] },
    ])
  } finally {
    await db.close()
  }
})
afterAll(() => rm(template, { recursive: true, force: true }))

/** The command on a copy of that database, or where there is none. */
async function useExport({ isNew = false } = {}) {
  const cwd = await gateways.folder()
  if (!isNew) await cp(join(template, 'data'), join(cwd, 'data'), { recursive: true })
  const path = (name: string) => join(cwd, name)
  return {
    cwd,
    path,
    read: (name: string) => readFile(path(name), 'utf8'),
    run: (...args: string[]) => gateways.run(['export', ...args], { cwd, env: { DATABASE_URL: 'pglite:data' } }),
  }
}

const exported = (stdout: string, what: string) => ({
  code: 0,
  signal: null,
  stdout,
  stderr: expect.stringMatching(new RegExp(`(^|\\n)${what} were exported, \\d+ a second\\.\\n$`)),
})
const failed = (stderr: string) => ({ code: 1, signal: null, stdout: '', stderr })

const organizationsHead =
  'ID,Source,Source ID,Disabled,Name,Business Unit,Business Unit Organization,Region,Parent Organization,Manager,Substitute,Remarks,UI Extension,Custom Fields,Financial ID\n'
const sampleAsOrganizations = `${organizationsHead},,,false,Best IT,,,,,,,,,,
,HR,AP-01,false,Best IT Asia Pacific,,,,Best IT,,,,,,
,HR,EU-01,false,Best IT Europe,,,,Best IT,,,,,,
,HR,EU-02,false,Best IT London,,,,Best IT Europe,,,,,,
,,,false,Harbour Freight Forwarding,,,,,,,,,,
,,,true,Harbour Warehouse,,,,Harbour Freight Forwarding,,,,,,
`
const contactsHead =
  'ID,Organization,Contact Protocol,Contact Label,Contact URI,Address Label,Address Address,Address City,Address State,Address Zip,Address Country,Integration\n'
const bestIt = [
  'Best IT,telephone,general,\t+1 (203) 413 4880,,,,,,,true',
  'Best IT,telephone,service_desk,\t+1 (800) 4-BEST-IT or +1 (800) 423 7848,,,,,,,false',
  'Best IT,telephone,fax,\t+1 (203) 413 4881,,,,,,,false',
  'Best IT,email,general,info@best-it.com,,,,,,,false',
  'Best IT,email,service_desk,helpdesk@best-it.com,,,,,,,false',
  'Best IT,website,general,www.best-it.com,,,,,,,false',
  'Best IT,website,service_desk,www.support.best-it.com,,,,,,,false',
]
const others = [
  'Best IT Asia Pacific,telephone,general,\t+61 2 5550 1200,,,,,,,false',
  'Best IT Asia Pacific,email,service_desk,helpdesk.apac@best-it.example,,,,,,,false',
  'Best IT Europe,telephone,general,\t+44 20 7946 0120,,,,,,,false',
  'Best IT Europe,email,service_desk,helpdesk.eu@best-it.example,,,,,,,false',
  'Best IT Europe,website,general,https://www.best-it.example/europe,,,,,,,false',
  'Best IT London,telephone,general,\t+44 20 7946 0121,,,,,,,false',
  'Best IT London,telephone,service_desk_fax,\t+44 20 7946 0122,,,,,,,false',
  'Harbour Freight Forwarding,telephone,general,\t+31 20 794 0810,,,,,,,false',
  'Harbour Freight Forwarding,email,general,office@harbour.example,,,,,,,false',
  'Harbour Freight Forwarding,website,general,harbour.example,,,,,,,false',
  'Harbour Warehouse,telephone,fax,\t+31 20 794 0811,,,,,,,false',
]
const asContacts = (rows: readonly string[]) => contactsHead + rows.map((row) => `,${row}\n`).join('')

describe('export', () => {
  it('writes organizations and contacts as the CSV of the vendor', async () => {
    const { run } = await useExport()

    expect(await run('organizations')).toEqual(exported(sampleAsOrganizations, '6 organizations'))
    expect(await run('contacts')).toEqual(exported(asContacts([...bestIt, ...others]), '18 contacts'))
  })

  it('writes JSON Lines', async () => {
    const { run } = await useExport()

    const [organizations, contacts] = [
      await run('organizations', '--format', 'jsonl'),
      await run('contacts', '--format', 'jsonl', '--organization', 'Harbour Warehouse'),
    ]

    const instant = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    const instants = { created_at: instant, updated_at: instant }
    const lines = organizations.stdout.split('\n')
    expect(lines).toHaveLength(7)
    expect(JSON.parse(lines[3]!)).toEqual({
      ...{ id: 4, name: 'Best IT London', parent: { id: 2, name: 'Best IT Europe' }, disabled: false },
      ...{ source: 'HR', sourceID: 'EU-02', ...instants },
    })
    expect(JSON.parse(contacts.stdout)).toEqual({
      ...{ id: 82, organization: { id: 6, name: 'Harbour Warehouse' }, label: 'fax', telephone: '+31 20 794 0811' },
      ...{ integration: false, version: 1, ...instants },
    })
  })

  it('keeps to an account, writes ids where they are asked for, and another delimiter', async () => {
    const { run } = await useExport()

    const organizations = await run('organizations', '--account', 'other', '--delimiter', 'semicolon')
    const contacts = await run('contacts', '--account=other', '--ids')

    expect(organizations.stdout.split('\n')[1]).toBe(';;;false;"\t=A, ""B""";;;;;;;;;;')
    expect(contacts.stdout).toMatch(/\n\d+,"\t=A, ""B""",email,general,\t\+a@b,,,,,,,false\n$/)
  })

  it('keeps to the organizations that are named, by id or by name, and to what was changed since', async () => {
    const { run } = await useExport()

    const named = await run('contacts', '--organization', '3', encodeId('Organization', 1), '--since', '2020-01-01')
    const later = await run('contacts', '--since', '9000-01-01T00:00:00+02:00')

    expect(named).toEqual(exported(asContacts([...bestIt, ...others.slice(0, 2)]), '9 contacts'))
    expect(later).toEqual(exported(contactsHead, '0 contacts'))
  })

  it('names each account and organization that there is not', async () => {
    const { run } = await useExport()

    expect(await run('contacts', '--account', 'nobody')).toEqual(failed('There is no account of the name "nobody".\n'))
    expect(await run('organizations', '--organization', 'Best IT', '7', 'best it')).toEqual(
      failed('There is no organization "7".\nThere is no organization "best it".\n'),
    )
    // An export creates nothing.
    expect((await run('contacts', '--account', 'nobody')).code).toBe(1)
  })
})

describe('export --output', () => {
  it('writes the file, in the place of another one, and leaves nothing beside it', async () => {
    const { cwd, path, read, run } = await useExport()
    await mkdir(path('out'))
    await writeFile(path('out/o.csv'), 'what was there before, and was longer than what is there now'.repeat(100))
    await writeFile(path('real.csv'), '')
    await symlink(path('real.csv'), path('out/link.csv'))

    expect(await run('organizations', '--output', 'out/o.csv')).toEqual(exported('', '6 organizations'))
    expect(await run('organizations', '--output', join(cwd, 'out/link.csv'))).toEqual(exported('', '6 organizations'))

    expect(await read('out/o.csv')).toBe(sampleAsOrganizations)
    expect(await read('real.csv')).toBe(sampleAsOrganizations)
    expect((await readdir(path('out'))).toSorted()).toEqual(['link.csv', 'o.csv'])
  })

  it('leaves what was there when it fails', async () => {
    const { path, read, run } = await useExport()
    await mkdir(path('out'))
    await writeFile(path('out/o.csv'), 'before')

    const ended = await run('organizations', '--output', 'out/o.csv', '--organization', 'nobody')

    expect(ended).toEqual(failed('There is no organization "nobody".\n'))
    expect(await read('out/o.csv')).toBe('before')
    expect(await readdir(path('out'))).toEqual(['o.csv'])
  })

  it('says why there can be no file, before anything else', async () => {
    const { path, run } = await useExport({ isNew: true })
    await mkdir(path('out'))

    expect([await run('contacts', '--output', 'nowhere/c.csv'), await run('contacts', '--output', 'out')]).toEqual([
      failed('nowhere/c.csv cannot be written: no such file or directory.\n'),
      failed('out cannot be written: illegal operation on a directory.\n'),
    ])
    expect(existsSync(path('data'))).toBe(false)
  })

  it.skipIf(!existsSync('/dev/full'))('writes to a device, and says when it is full', async () => {
    const { run } = await useExport()

    const ended = await run('contacts', '--output', '/dev/full')

    expect(ended).toMatchObject({ code: 1, stdout: '' })
    expect(ended.stderr).toMatch(/\/dev\/full cannot be written: no space left on device\.\n$/)
    expect((await stat('/dev/full')).isCharacterDevice()).toBe(true)
  })
})

describe('the command line of export', () => {
  it.each([
    [[], "missing required argument 'what'"],
    [['tokens'], 'Allowed choices are organizations, contacts.'],
    [['contacts', '--format', 'xml'], 'Allowed choices are csv, jsonl.'],
    [['contacts', '--delimiter', ','], 'Allowed choices are comma, semicolon, tab.'],
    [['contacts', '--since', 'yesterday'], 'It must be a date such as 2026-01-31'],
    [['contacts', '--since', '2026-02-30'], 'It must be a date such as 2026-01-31'],
    [['contacts', '--organization'], "option '--organization <id...>' argument missing"],
    [['contacts', 'more'], 'too many arguments'],
  ])('%j is refused with exit code 2, and touches nothing', async (args, message) => {
    const { path, run } = await useExport({ isNew: true })

    const ended = await run(...args)

    expect(ended).toMatchObject({ code: 2, stdout: '' })
    expect(ended.stderr).toContain(message)
    expect(existsSync(path('data'))).toBe(false)
  })

  it('explains itself', async () => {
    const { path, run } = await useExport({ isNew: true })

    const { code, stdout, stderr } = await run('--help')

    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const text = stdout.replace(/\s+/g, ' ')
    for (const told of [
      'Usage: gateway export [options] <what>',
      'what was removed cannot be told',
      'the file is there once it is whole',
      'Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.',
      "gateway export contacts --organization 'Best IT' --format jsonl",
    ])
      expect(text).toContain(told)
    expect(existsSync(path('data'))).toBe(false)
  })
})
