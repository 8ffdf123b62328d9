import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { openDatabase } from '../../src/db/client.ts'
import { migrate } from '../../src/db/migrate.ts'
import { ensureAccount } from '../../src/domain/accounts.ts'
import { testDeadlines } from '../support/deadlines.ts'
import { useGateways } from '../support/gateway.ts'
import { stateOf } from '../support/state.ts'

// A test starts several processes, each of which may load a database.
vi.setConfig({ testTimeout: 120_000 })

const gateways = useGateways()

/** A database with nothing but an account, to be copied: making one takes far longer. */
let template: string
beforeAll(async () => {
  template = await mkdtemp(join(tmpdir(), 'contacts-gateway-template-'))
  await withDatabase(template, async (db) => {
    await migrate(db)
    await ensureAccount(db, 'demo')
  })
})
afterAll(() => rm(template, { recursive: true, force: true }))

async function withDatabase<Result>(
  folder: string,
  work: (db: Awaited<ReturnType<typeof openDatabase>>) => Promise<Result>,
): Promise<Result> {
  const url = `pglite:${join(folder, 'data')}`
  const db = await openDatabase({ url, poolSize: 1, prepare: true, deadlines: testDeadlines })
  try {
    return await work(db)
  } finally {
    await db.close()
  }
}

/** The command in a folder of its own, on a copy of that database or where there is none. */
async function useImport(texts: Record<string, string | Buffer>, { isNew = false } = {}) {
  const cwd = await gateways.folder()
  if (!isNew) await cp(join(template, 'data'), join(cwd, 'data'), { recursive: true })
  for (const [name, text] of Object.entries(texts)) await writeFile(join(cwd, name), text)
  const path = (name: string) => join(cwd, name)
  const command = (...args: string[]) => gateways.run(args, { cwd, env: { DATABASE_URL: 'pglite:data' } })
  return {
    path,
    read: (name: string) => readFile(path(name), 'utf8'),
    write: (name: string, text: string) => writeFile(path(name), text),
    state: () => withDatabase(cwd, stateOf),
    export: async (...args: string[]) => (await command('export', ...args)).stdout,
    run: async (...args: string[]) => {
      const run = await command('import', ...args)
      return { ...run, stderr: withoutProgress(run.stderr) }
    },
    /** The files besides those that were given and the database. */
    added: async () => (await readdir(cwd)).filter((name) => name !== 'data' && !(name in texts)).toSorted(),
  }
}

/** A busy machine is long about it, and tells how far it is. */
const withoutProgress = (stderr: string) => stderr.replaceAll(/^\d+ rows of .* left\n/gm, '')

const contactsHeader = 'ID,Organization,Contact Protocol,Contact Label,Contact URI,Integration'
const vendorHeaders = {
  organizations:
    'ID,Source,Source ID,Disabled,Name,Business Unit,Business Unit Organization,Region,Parent Organization,Manager,Substitute,Remarks,UI Extension,Custom Fields,Financial ID',
  contacts:
    'ID,Organization,Contact Protocol,Contact Label,Contact URI,Address Label,Address Address,Address City,Address State,Address Zip,Address Country,Integration',
}
const organizations = `${vendorHeaders.organizations}
,HR,7,false,Best IT London,no,,EU,Best IT,Grace,,Old building,,,
,,,,Best IT,,,,,,,,,,
`
const contacts = `${vendorHeaders.contacts}
,Best IT,telephone,general,\t+1 203,,,,,,,true
,Best IT,email,general,info@best-it.com,,,,,,,false
,Best IT,,,,billing,Main St 1,NY,,,US,
,Best IT London,website,general,best-it.example,,,,,,,
`
const rate = expect.stringMatching(/, \d+ rows a second\.\n$/)
const ended = (code: number, stdout: string, stderr: string) => ({ code, signal: null, stdout, stderr })
/** Without the rates, which nobody can foresee. */
const withoutRates = <Run extends { stdout: string }>(run: Run): Run => ({
  ...run,
  stdout: run.stdout.replaceAll(/, \d+ rows a second/g, ''),
})

describe('import', () => {
  it("reads the vendor's files in any order, tells what it did, and does nothing the second time", async () => {
    const gateway = await useImport({ 'o.csv': organizations, 'c.csv': contacts })

    const first = await gateway.run('c.csv', 'o.csv')
    const state = await gateway.state()
    const second = await gateway.run('c.csv', 'o.csv')

    const passedOver =
      'c.csv: passing over what is not kept here: Address Label, Address Address, Address City, Address State, Address Zip, Address Country.\n' +
      'o.csv: passing over what is not kept here: Business Unit, Business Unit Organization, Region, Manager, Substitute, Remarks, UI Extension, Custom Fields, Financial ID.\n'
    expect(first.stdout).toEqual(rate)
    expect(withoutRates(first)).toEqual(
      ended(
        0,
        'o.csv: organizations: 2 created, 0 updated, 0 unchanged, 0 failed.\n' +
          'c.csv: contacts: 3 created, 0 updated, 0 unchanged, 0 deleted, 0 failed, 1 row of addresses passed over.\n',
        passedOver,
      ),
    )
    expect(withoutRates(second)).toEqual(
      ended(
        0,
        'o.csv: organizations: 0 created, 0 updated, 2 unchanged, 0 failed.\n' +
          'c.csv: contacts: 0 created, 0 updated, 3 unchanged, 0 deleted, 0 failed, 1 row of addresses passed over.\n',
        passedOver,
      ),
    )
    expect(await gateway.state()).toEqual(state)
    expect(await gateway.added()).toEqual([])
  })

  it('reads each delimiter and each encoding, and what it read goes out again as it came', async () => {
    const plain = `${vendorHeaders.contacts}\n,Büro 😀,email,general,ü@example.com,,,,,,,true\n`
    const names = `${vendorHeaders.organizations}\n,,,false,Büro 😀,,,,,,,,,,\n`
    const by = (text: string, delimiter: string) => text.replaceAll(',', delimiter)
    const gateway = await useImport({
      'o.csv': Buffer.from(`\ufeff${by(names, ';').replaceAll('\n', '\r\n')}`),
      'c.csv': Buffer.from(`\ufeff${by(plain, '\t')}`, 'utf16le'),
    })

    expect(await gateway.run('o.csv', 'c.csv', '--account', 'new')).toMatchObject({ code: 0 })

    expect(await gateway.export('organizations', '--account', 'new', '--delimiter', 'semicolon')).toBe(by(names, ';'))
    expect(await gateway.export('contacts', '--account', 'new')).toBe(plain)
    expect(await gateway.export('contacts')).toBe(`${vendorHeaders.contacts}\n`)
  })

  it('with --dry-run changes nothing, not even the accounts, and counts the same', async () => {
    const gateway = await useImport({ 'o.csv': organizations, 'c.csv': contacts })
    const args = ['o.csv', 'c.csv', '--account', 'new']
    const before = await gateway.state()

    const dry = withoutRates(await gateway.run(...args, '--dry-run'))
    expect(await gateway.state()).toEqual(before)
    const real = withoutRates(await gateway.run(...args))

    expect([dry.code, real.code]).toEqual([0, 0])
    expect(dry.stdout).toContain('o.csv: a dry run, nothing was changed: organizations: 2 created')
    expect(dry.stdout.replaceAll('a dry run, nothing was changed: ', '')).toBe(real.stdout)
  })

  it('refuses a name that no account can have', async () => {
    const gateway = await useImport({ 'o.csv': organizations })
    const before = await gateway.state()

    expect(await gateway.run('o.csv', '--account', ' ')).toMatchObject({ code: 1, stdout: '' })
    const long = await gateway.run('o.csv', '--account', 'x'.repeat(65))

    expect(long.stderr).toMatch(/\nAccount name is too long: 65 characters, at most 64 are allowed\.\n$/)
    expect(await gateway.state()).toEqual(before)
  })
})

describe('import of rows that are wrong', () => {
  const rows = [
    ',Best IT,email,general,info@best-it.com,true',
    ',Best IT,email,fax,none,perhaps',
    ',Best IT London,email,general,a@b,',
    '5,Unknown,fax,general,1,',
  ]
  const bad = `${[contactsHeader, ...rows].join('\n')}\n`
  const names = 'Name\nBest IT\nBest IT London\n'
  const report = `${contactsHeader},Line,Reasons
,Best IT,email,general,info@best-it.com,true,2,"Left out with line 3, of the same organization."
,Best IT,email,fax,none,perhaps,3,"Label ""fax"" is not one of general, service_desk. Email must have exactly one @, with text on both sides. Integration must be true or false."
5,Unknown,fax,general,1,,5,"Contact Protocol ""fax"" is not one of telephone, email, website."
`

  it('imports nothing, and tells of all of them', async () => {
    const gateway = await useImport({ 'o.csv': names, 'c.csv': bad })
    const before = await gateway.state()

    expect(await gateway.run('o.csv', 'c.csv')).toEqual(
      ended(
        3,
        '',
        'c.csv: 3 rows are refused; c.failed.csv has the reasons.\nNothing was imported. --on-error skip imports the other organizations.\n',
      ),
    )

    expect(await gateway.read('c.failed.csv')).toBe(report)
    expect(await gateway.state()).toEqual(before)
  })

  it('with --on-error skip imports the other organizations, and the report once it is mended', async () => {
    const gateway = await useImport({ 'o.csv': names, 'c.csv': bad })
    await mkdir(gateway.path('out'))

    const skipped = withoutRates(await gateway.run('o.csv', 'c.csv', '--on-error', 'skip', '--failed', 'out'))

    expect(skipped).toEqual(
      ended(
        3,
        'o.csv: organizations: 2 created, 0 updated, 0 unchanged, 0 failed.\n' +
          'c.csv: contacts: 1 created, 0 updated, 0 unchanged, 0 deleted, 3 failed.\n' +
          'The rows that failed are in out/c.failed.csv, with their lines and the reasons.\n',
        '',
      ),
    )
    expect(await gateway.read('out/c.failed.csv')).toBe(report)
    const mended = report
      .replace(',fax,none,perhaps', ',general,a@b,')
      .replace('5,Unknown,fax,general,1,', ',Best IT,telephone,general,1,')
    await gateway.write('mended.csv', mended)
    expect(await gateway.run('mended.csv')).toMatchObject({ code: 0, stdout: expect.stringMatching(/: 3 created,/) })
    expect((await gateway.export('contacts')).split('\n').slice(1)).toEqual([
      ',Best IT,telephone,general,1,,,,,,,false',
      ',Best IT,email,general,info@best-it.com,,,,,,,true',
      ',Best IT,email,general,a@b,,,,,,,false',
      ',Best IT London,email,general,a@b,,,,,,,false',
      '',
    ])
  })

  it('ends with the first that only the database could refuse', async () => {
    const unknown = [contactsHeader, ...rows.slice(2, 3), ',Unknown,email,general,a@b,', '7,Unknown,email,general,a@b,']
    const gateway = await useImport({ 'o.csv': names, 'c.csv': `${unknown.join('\n')}\n` })

    const stopped = withoutRates(await gateway.run('o.csv', 'c.csv'))

    expect(stopped).toEqual(
      ended(
        3,
        'o.csv: organizations: 2 created, 0 updated, 0 unchanged, 0 failed.\n' +
          'c.csv: contacts: 1 created, 0 updated, 0 unchanged, 0 deleted, 2 failed.\n' +
          'The rows that failed are in c.failed.csv, with their lines and the reasons.\n' +
          'Stopped there. What was imported before stays; --on-error skip goes on.\n',
        '',
      ),
    )
    expect((await gateway.read('c.failed.csv')).split('\n').slice(1, 3)).toEqual([
      ',Unknown,email,general,a@b,,3,There is no such organization in the account.',
      '7,Unknown,email,general,a@b,,4,There is no such organization in the account.',
    ])
  })

  it('goes by ids of this gateway and account alone', async () => {
    const gateway = await useImport({
      'o.csv': names,
      'c.csv': `${contactsHeader}\n,Best IT,email,general,a@b,\n`,
      'again.csv': 'ID,Name\n999999,Best IT\n',
    })
    await gateway.run('o.csv', 'c.csv')
    await gateway.run('o.csv', '--account', 'other')
    await gateway.write('ids.csv', await gateway.export('contacts', '--ids'))

    const foreign = await gateway.run('ids.csv', '--account', 'other')
    const unknown = await gateway.run('again.csv')
    const ignored = await gateway.run('again.csv', 'ids.csv', '--account', 'other', '--ignore-ids')

    expect([foreign.code, unknown.code, ignored.code]).toEqual([3, 3, 0])
    expect(await gateway.read('ids.failed.csv')).toMatch(/,2,The organization has no contact with the ID \d+\.\n$/)
    expect(await gateway.read('again.failed.csv')).toMatch(
      /,2,There is no organization with the ID 999999 in the account\.( |\n)/,
    )
  })
})

describe('import of a file that is bad', () => {
  const row = ',Best IT,email,general,a@b,'
  const two = `${contactsHeader}\n${row}\n`
  it.each<[string, string | Buffer, string]>([
    [
      'has no header',
      `${row}\n${row}\n`,
      'c.csv, line 1: this is not the header of a file of contacts or of organizations. A header names the columns, in any order: ID,Organization,Contact Protocol,Contact Label,Contact URI,Integration (contacts) or ID,Source,Source ID,Disabled,Name,Parent Organization (organizations).\n',
    ],
    ['is empty', '', 'c.csv: it is empty. '],
    [
      'has unknown columns',
      `${contactsHeader},Colour,Contact  Lable\n`,
      'c.csv, line 1: a file of contacts has no columns "Colour", "Contact  Lable". --ignore-unknown-columns passes over what is unknown.\n',
    ],
    [
      'lacks columns',
      'ID,Organization,Contact Label,Contact URI\n',
      'a file of contacts must have the column "Contact Protocol"',
    ],
    ['names a column twice', `${contactsHeader},ID\n`, 'line 1: the column "ID" is there more than once.\n'],
    ['has an unclosed quote', `${two},"Best IT,email,general,a@b,\n`, 'c.csv, line 3: the quote of cell 2 of the row'],
    [
      'is not UTF-8',
      Buffer.from(`${two},Büro,email,general,a@b,\n`, 'latin1'),
      'c.csv, line 3: not valid UTF-8. Save the',
    ],
    ['is UTF-16BE', Buffer.from(`\ufeff${two}`, 'utf16le').swap16(), 'c.csv: the encoding is UTF-16BE, which is not'],
    [
      'has a cell of 10 MB',
      `${two},Best IT,email,general,${'x'.repeat(1e7)},\n`,
      'c.csv, line 3: the row that begins here is longer',
    ],
    [
      'is a spreadsheet',
      'PK\x03\x04...',
      'c.csv: this is a spreadsheet or a ZIP archive, not text. Save it as "CSV UTF-8".',
    ],
    [
      'has the rows of an organization in two places',
      `${two},Other,email,general,a@b,\n${row}\n`,
      'c.csv, line 4: the rows of "Best IT" are not together: others begin on line 2. Sort the file by Organization.\n',
    ],
    [
      'has too many rows for one organization',
      `${two}${`${row}\n`.repeat(10_000)}`,
      'c.csv, line 10002: this is row 10001 of "Best IT"; at most 10000 are allowed for one organization.\n',
    ],
  ])('%s is refused with exit code 3, and nothing is touched', async (_, text, message) => {
    for (const onError of ['stop', 'skip']) {
      const gateway = await useImport({ 'c.csv': text, 'o.csv': 'Name\nBest IT\n' }, { isNew: true })

      const refused = await gateway.run('c.csv', 'o.csv', '--on-error', onError)

      expect(refused).toMatchObject({ code: 3, stdout: '' })
      expect(refused.stderr).toContain(message)
      expect(refused.stderr).toMatch(/\nNothing was imported\.\n$/)
      expect(refused.stderr).not.toMatch(/\n\s+at |Error|select|node_modules/)
      expect(await gateway.added()).toEqual([])
      expect(existsSync(gateway.path('data'))).toBe(false)
    }
  })

  it.each<[string, string, string[]]>([
    [
      'is ragged or has a NUL',
      `${two},Best IT,email\n,Best IT,email,general,a\0@b,\n,Best IT,email,general,a@b,,,,\n`,
      [
        ',Best IT,email,,,,3,"The row has 3 cells, and the header has 6."',
        ',Best IT,email,general,a\0@b,,4,"A NUL character is in the cell of ""Contact URI""."',
        ',Best IT,email,general,a@b,,5,"The row has 9 cells, and the header has 6.",,,',
      ],
    ],
    [
      'has labels of another channel',
      `${two},Best IT,website,service_desk_fax,a.example,\n`,
      [
        ',Best IT,website,service_desk_fax,a.example,,3,"Label ""service_desk_fax"" is not one of general, service_desk."',
      ],
    ],
    ['names organizations twice', 'Name\nBest IT\nBest IT \n', ['Best IT ,3,"Name ""Best IT"" is on line 2 already."']],
    [
      'has organizations in a circle',
      'Name,Parent Organization\nA,B\nB,A\n',
      [
        'A,B,2,"Parent Organization makes a circle: ""A"" beneath ""B"" beneath ""A""."',
        'B,A,3,"Parent Organization makes a circle: ""A"" beneath ""B"" beneath ""A""."',
      ],
    ],
  ])('where a row %s, that row is told with its line and the reason', async (_, text, lines) => {
    const gateway = await useImport({ 'c.csv': text }, { isNew: true })

    expect(await gateway.run('c.csv')).toMatchObject({ code: 3, stdout: '' })

    expect((await gateway.read('c.failed.csv')).split('\n')).toEqual(expect.arrayContaining(lines))
    expect(existsSync(gateway.path('data'))).toBe(false)
  })

  it('is told together with the others', async () => {
    const gateway = await useImport({ 'a.csv': '', 'b.csv': 'Nonsense\n', 'c.csv': contacts }, { isNew: true })
    await mkdir(gateway.path('folder'))

    const refused = await gateway.run('a.csv', 'b.csv', 'c.csv', 'folder', 'missing.csv', '-')

    expect(refused).toMatchObject({ code: 3, stdout: '' })
    expect(refused.stderr.split('\n').map((line) => line.slice(0, 40))).toEqual([
      expect.stringMatching(/^c\.csv: passing over/),
      expect.stringMatching(/^a\.csv: it is empty/),
      expect.stringMatching(/^b\.csv, line 1: this is not the header/),
      'folder: this is a folder. Name the files in it.'.slice(0, 40),
      'missing.csv: there is no such file.',
      expect.stringMatching(/^-: standard input cannot be read/),
      'Nothing was imported.',
      '',
    ])
    expect(existsSync(gateway.path('data'))).toBe(false)
  })
})

describe('the report of rows that failed', () => {
  it('must have a folder, which is told before anything else', async () => {
    const gateway = await useImport({ 'o.csv': organizations }, { isNew: true })
    const told = ' --failed names the folder for the rows that are refused.\n'

    expect([
      await gateway.run('o.csv', '--failed', 'nowhere'),
      await gateway.run('o.csv', '--failed', 'o.csv'),
    ]).toEqual([
      ended(1, '', `The folder nowhere cannot be written: no such file or directory.${told}`),
      ended(1, '', `o.csv is not a folder.${told}`),
    ])
    expect(existsSync(gateway.path('data'))).toBe(false)
  })

  it('never takes the place of a file that is to be imported', async () => {
    const gateway = await useImport({ 'c.csv': 'Name\n,\n', 'c.failed.csv': 'Name\nA\n' }, { isNew: true })

    const refused = await gateway.run('c.csv', './c.failed.csv')

    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toMatch(/^\.\/c\.failed\.csv is to be imported, and would be written over/)
    expect(await gateway.read('c.failed.csv')).toBe('Name\nA\n')
  })

  it('is one for each file, also where their names are the same', async () => {
    const gateway = await useImport({}, { isNew: true })
    for (const folder of ['a', 'b']) {
      await mkdir(gateway.path(folder))
      await gateway.write(`${folder}/c.csv`, `Name,Disabled\n${folder},perhaps\n`)
    }

    await gateway.run('a/c.csv', 'b/c.csv')

    expect(await gateway.read('c.1.failed.csv')).toContain('\na,perhaps,2,')
    expect(await gateway.read('c.2.failed.csv')).toContain('\nb,perhaps,2,')
  })
})

describe('the command line of import', () => {
  it.each([
    [[], "missing required argument 'file'"],
    [['o.csv', '--on-error', 'retry'], 'Allowed choices are stop, skip.'],
    [['o.csv', '--failed'], "option '--failed <folder>' argument missing"],
    [['o.csv', '--replace'], "unknown option '--replace'"],
  ])('%j is refused with exit code 2, and touches nothing', async (args, message) => {
    const gateway = await useImport({ 'o.csv': organizations }, { isNew: true })

    const refused = await gateway.run(...args)

    expect(refused).toMatchObject({ code: 2, stdout: '' })
    expect(refused.stderr).toContain(message)
    expect(existsSync(gateway.path('data'))).toBe(false)
  })

  it('explains itself', async () => {
    const gateway = await useImport({}, { isNew: true })

    const { code, stdout, stderr } = await gateway.run('--help')

    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const text = stdout.replace(/\s+/g, ' ')
    for (const told of [
      'Usage: gateway import [options] <file...>',
      'its contacts of the integration that the file does not name are removed',
      'Exit codes: 0 done, 1 failed, 2 wrong usage, 3 rows or files were refused, 130 interrupted.',
      'gateway import contacts.csv --account acme --on-error skip',
    ])
      expect(text).toContain(told)
    expect(existsSync(gateway.path('data'))).toBe(false)
  })
})
