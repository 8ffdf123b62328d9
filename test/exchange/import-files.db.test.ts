import { readFile, writeFile } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { channelLabels } from '../../src/db/tables.ts'
import { ensureAccount } from '../../src/domain/accounts.ts'
import { allPermissions, type Context } from '../../src/domain/context.ts'
import { exportContacts, exportOrganizations } from '../../src/domain/export.ts'
import { encodeId } from '../../src/domain/ids.ts'
import { openCsvFile } from '../../src/exchange/csv-file.ts'
import {
  type FileCounts,
  type Import,
  type ImportSettings,
  importFile,
  survey,
} from '../../src/exchange/import-files.ts'
import { contactsAsCsv, type Delimiter, organizationsAsCsv } from '../../src/exchange/write.ts'
import { allOf, contactsHeader, useCsvFiles } from '../support/csv-files.ts'
import { useDatabase } from '../support/database.ts'
import { aContact, anOrganization } from '../support/factory.ts'
import { unchanged } from '../support/state.ts'

const database = useDatabase()
const files = useCsvFiles()

let accounts = 0

/** An account of its own, without organizations. */
async function emptyAccount(): Promise<Context> {
  accounts += 1
  return { db: database.db, account: await ensureAccount(database.db, `a${accounts}`), permissions: allPermissions }
}

interface Result {
  counts: Partial<FileCounts>
  /** The report of what was refused, if there is one. */
  failed: string | undefined
  failedPath: string
}

const quiet = { created: 0, updated: 0, unchanged: 0, deleted: 0, failed: 0, addresses: 0 }
const counted = (counts: Partial<FileCounts>) => ({ ...quiet, ...counts })

/** Surveys and imports texts, as the command does: nothing is imported where the survey of one has refused rows. */
async function importTexts(
  ctx: Context,
  texts: readonly (string | Buffer)[],
  given: Partial<ImportSettings> = {},
): Promise<Result[]> {
  const settings: ImportSettings = { isDry: false, ignoreIds: false, onError: 'skip', ...given }
  const names: Import['names'] = new Map()
  const surveyed = []
  for (const text of texts) {
    const path = await files.path()
    await writeFile(path, text)
    const file = await openCsvFile(path, { ignoreUnknownColumns: false })
    surveyed.push(await survey(file, await files.path('file.failed.csv'), settings, {}))
  }
  const isRefused = settings.onError === 'stop' && surveyed.some(({ counts }) => counts.failed > 0)
  const results: Result[] = []
  for (const one of surveyed) {
    if (!isRefused) await importFile({ ctx, settings, observer: {}, names }, one)
    await one.refused.close()
    const failed = one.refused.count > 0 ? await readFile(one.refused.path, 'utf8') : undefined
    results.push({ counts: one.counts, failed, failedPath: one.refused.path })
  }
  return results
}

const csv = (...lines: readonly string[]) => `${lines.join('\n')}\n`
const contactsCsv = (...rows: readonly string[]) => csv(contactsHeader, ...rows)
const organizationsHeader = 'ID,Name,Parent Organization,Disabled,Source,Source ID'
const organizationsCsv = (...rows: readonly string[]) => csv(organizationsHeader, ...rows)

async function exportTexts(ctx: Context, delimiter: Delimiter = 'comma', ids = false) {
  const organizations = organizationsAsCsv({ delimiter, ids })
  const contacts = contactsAsCsv({ delimiter, ids })
  const pages = [await allOf(exportOrganizations(ctx, {})), await allOf(exportContacts(ctx, {}))] as const
  return [
    organizations.head + pages[0].map((page) => organizations.write(page)).join(''),
    contacts.head + pages[1].map((page) => contacts.write(page)).join(''),
  ] as const
}

/** What an account has: organizations as [name, parent, disabled, source, source id], contacts as the text of a line. */
async function contentOf(ctx: Context) {
  const organizations = (await allOf(exportOrganizations(ctx, {}))).flat()
  const groups = (await allOf(exportContacts(ctx, {}))).flat()
  return {
    organizations: organizations.map((o) => [o.name, o.parentName, o.disabled, o.source, o.sourceId]),
    contacts: groups.flatMap(({ organization, contacts }) =>
      contacts.map(({ channel, label, value, integration }) =>
        [organization.name, channel, label, value, integration].join(' '),
      ),
    ),
  }
}

describe('an import', () => {
  it('takes every column that is held, in any order, and passes over empty rows', async () => {
    const ctx = await emptyAccount()

    const results = await importTexts(ctx, [
      csv(
        'Disabled;Name;Source ID;Parent Organization;Source;ID',
        'yes;B;7;A;HR;',
        ';;;;;',
        '0;A;;;;',
        ';C;;\t=D;;',
        ';\t=D;;;;',
      ),
      csv(
        'Integration\tContact URI\tContact Label\tContact Protocol\tOrganization\tID',
        '1\t"\t+1"\tFAX\tTelephone\tB\t',
        'T\tb@c\tgeneral\temail\tB\t',
        '\t\t\t\t\t',
        'off\twww.c.example\tservice_desk\twebsite\tC\t',
      ),
    ])

    expect(results.map(({ counts }) => counts)).toEqual([counted({ created: 4 }), counted({ created: 3 })])
    expect(await contentOf(ctx)).toEqual({
      organizations: [
        ['=D', null, false, null, null],
        ['A', null, false, null, null],
        ['B', 'A', true, 'HR', '7'],
        ['C', '=D', false, null, null],
      ],
      contacts: ['B telephone fax +1 true', 'B email general b@c true', 'C website service_desk www.c.example false'],
    })
  })

  it('finds parents that are stored, and refuses those that are nowhere, and circles through what is stored', async () => {
    const ctx = await emptyAccount()
    const top = await anOrganization(ctx, { name: 'Top' })
    await anOrganization(ctx, { name: 'Middle', parentId: top.id })
    await anOrganization(ctx, { name: 'Stored' })

    const [result] = await importTexts(ctx, [
      organizationsCsv(',Low,Stored,,,', ',Top,Middle,,,', ',Lost,Nowhere,,,', ',Beneath,Lost,,,'),
    ])

    expect(result!.counts).toEqual(counted({ created: 1, failed: 3 }))
    expect(result!.failed!.split('\n').slice(1)).toEqual([
      ',Top,Middle,,,,3,"The parent ""Middle"" is the organization itself or one of its descendants."',
      ',Lost,Nowhere,,,,4,"There is no parent organization ""Nowhere""."',
      ',Beneath,Lost,,,,5,An organization above it was refused.',
      '',
    ])
  })

  it('changes what has the ID, and nothing else', async () => {
    const ctx = await emptyAccount()
    const { id } = await anOrganization(ctx, { name: 'Old', source: 'HR' })
    const contact = await aContact(ctx, id, { channel: 'email', value: 'a@b' })
    const other = await aContact(ctx, id, { channel: 'email', value: 'b@c' })

    const results = await importTexts(ctx, [
      csv('ID,Name', `${encodeId('Organization', id)},New`),
      contactsCsv(`${contact.id},New,email,service_desk,c@d,true`, `${other.id},New,email,general,b@c,`),
    ])

    expect(results.map(({ counts }) => counts)).toEqual([
      counted({ updated: 1 }),
      counted({ updated: 1, unchanged: 1 }),
    ])
    const [organizations, contacts] = [
      (await allOf(exportOrganizations(ctx, {}))).flat(),
      (await allOf(exportContacts(ctx, {}))).flat(),
    ]
    expect(organizations).toMatchObject([{ id, name: 'New', source: 'HR' }])
    expect(contacts[0]!.contacts).toMatchObject([
      { id: other.id, value: 'b@c', version: 1 },
      { id: contact.id, value: 'c@d', label: 'service_desk', integration: true, version: 2 },
    ])
  })

  it('takes no notice of ids where they are to be ignored', async () => {
    const ctx = await emptyAccount()
    const ignoreIds = { ignoreIds: true }
    const texts = [organizationsCsv('999999999,A,,,,'), contactsCsv('999999999,A,email,general,a@b,')]

    expect((await importTexts(ctx, texts)).map(({ counts }) => counts.failed)).toEqual([1, 1])
    expect((await importTexts(ctx, texts, ignoreIds)).map(({ counts }) => counts.created)).toEqual([1, 1])
  })

  it('of many batches counts each row once', async () => {
    const ctx = await emptyAccount()
    const count = 2500
    const named = Array.from({ length: count }, (_, i) => `n${i}`)
    // Each beneath the next: a batch needs the one before it.
    const organizations = organizationsCsv(...named.map((name, i) => `,${name},${named[i + 1] ?? ''},,,`))
    const contacts = contactsCsv(
      ...named.flatMap((name, i) => [
        `,${name},email,general,a@b,${i % 2 ? 'true' : ''}`,
        `,${i % 1000 === 7 ? '' : name},email,general,b@c,`,
        `,${name},website,general,c.example,`,
      ]),
    )

    const [first, second] = await importTexts(ctx, [organizations, contacts])

    expect(first!.counts).toEqual(counted({ created: count }))
    expect(second!.counts).toEqual(counted({ created: (count - 3) * 3, failed: 9 }))
    expect(second!.failed!.trimEnd().split('\n')).toHaveLength(10)
  })

  it('ends when it is told to, between two batches', async () => {
    const ctx = await emptyAccount()
    const count = 3000
    await importTexts(ctx, [organizationsCsv(...Array.from({ length: count }, (_, i) => `,n${i},,,,`))])
    const file = await files.file(
      contactsHeader,
      ...Array.from({ length: count }, (_, i) => `,n${i},email,general,a@b,`),
    )
    const settings: ImportSettings = { isDry: false, ignoreIds: false, onError: 'skip' }
    const surveyed = await survey(file, await files.path(), settings, {})
    const observer = { isStopped: () => surveyed.counts.created > 0 }

    await importFile({ ctx, settings, observer, names: new Map() }, surveyed)

    const { created } = surveyed.counts
    expect(created).toBeGreaterThan(0)
    expect(created).toBeLessThan(count)
    expect((await contentOf(ctx)).contacts).toHaveLength(created)
    const again = await survey(file, await files.path(), settings, {})
    await importFile({ ctx, settings, observer: {}, names: new Map() }, again)
    expect(again.counts).toEqual(counted({ created: count - created, unchanged: created }))
  })

  it('is not even surveyed to its end when it is told to end', async () => {
    const file = await files.file(contactsHeader, ',A,email,general,a@b,', ',B,fax,,,', ',A,email,general,a@b,')
    const settings: ImportSettings = { isDry: false, ignoreIds: false, onError: 'stop' }

    expect((await survey(file, await files.path(), settings, { isStopped: () => true })).counts.failed).toBe(0)
  })
})

describe('the contacts of the integration', () => {
  async function withContacts() {
    const ctx = await emptyAccount()
    for (const name of ['A', 'B', 'C']) {
      const { id } = await anOrganization(ctx, { name })
      await aContact(ctx, id, { channel: 'email', value: 'old@a', integration: true })
      await aContact(ctx, id, { channel: 'email', value: 'kept@a', integration: true })
      await aContact(ctx, id, { channel: 'email', value: 'manual@a' })
    }
    return ctx
  }
  const all = (name: string) =>
    ['old@a true', 'kept@a true', 'manual@a false'].map((end) => `${name} email general ${end}`)
  const replaced = (name: string, ...more: string[]) =>
    ['kept@a true', 'manual@a false', ...more].map((end) => `${name} email general ${end}`)

  it('are replaced where a row is of the integration, and stay where none is', async () => {
    const ctx = await withContacts()

    const [result] = await importTexts(ctx, [
      contactsCsv(
        ',A,email,general,new@a,no',
        ',A,email,general,kept@a,Yes',
        ',B,email,general,new@a,',
        ',B,email,general,manual@a,0',
      ),
    ])

    expect(result!.counts).toEqual(counted({ created: 2, unchanged: 2, deleted: 1 }))
    expect((await contentOf(ctx)).contacts).toEqual([
      ...replaced('A', 'new@a false'),
      ...all('B'),
      'B email general new@a false',
      ...all('C'),
    ])
  })

  it('are replaced where the row is an address', async () => {
    const ctx = await withContacts()

    const [result] = await importTexts(ctx, [
      csv(
        'Organization,Contact Protocol,Contact Label,Contact URI,Address Label,Address City,Integration',
        'A,,,,street,Bern,true',
        'B,,,,street,Bern,false',
        'B,email,general,manual@a,,,',
      ),
    ])

    expect(result!.counts).toEqual(counted({ unchanged: 1, deleted: 2, addresses: 2 }))
    expect((await contentOf(ctx)).contacts).toEqual(['A email general manual@a false', ...all('B'), ...all('C')])
  })

  it('stay where one of the rows is refused, or may be lost', async () => {
    const ctx = await withContacts()

    const [result] = await unchanged(database, () =>
      importTexts(ctx, [
        contactsCsv(
          ',A,email,general,kept@a,true',
          ',A,email,fax,new@a,true',
          ',B,email,general,kept@a,true',
          ',Ce, the second,email,general,old@a,true',
          ',C,email,general,kept@a,true',
        ),
      ]),
    )

    expect(result!.counts).toEqual(counted({ failed: 5 }))
  })
})

describe('an import that is refused', () => {
  it('with --on-error stop, by its rows alone, changes nothing, and tells of all that are wrong', async () => {
    const ctx = await emptyAccount()
    const texts = [
      organizationsCsv(',A,,,,', ',B,,perhaps,,'),
      contactsCsv(',A,email,general,a@b,', ',A,email,general,none,', ',C,email,fax,a b,', ',D,email,general,a@b,'),
    ]

    const results = await unchanged(database, () => importTexts(ctx, texts, { onError: 'stop' }))

    expect(results.map(({ counts, failed }) => [counts.failed, failed])).toEqual([
      [1, csv(`${organizationsHeader},Line,Reasons`, ',B,,perhaps,,,3,Disabled must be true or false.')],
      [
        3,
        csv(
          `${contactsHeader},Line,Reasons`,
          ',A,email,general,a@b,,2,"Left out with line 3, of the same organization."',
          ',A,email,general,none,,3,"Email must have exactly one @, with text on both sides."',
          ',C,email,fax,a b,,4,"Label ""fax"" is not one of general, service_desk. Email must not hold white space."',
        ),
      ],
    ])
  })

  it('by what only the database knows leaves those organizations as they were', async () => {
    const [ctx, other] = [await emptyAccount(), await emptyAccount()]
    const [a, b, foreign] = [
      await anOrganization(ctx, { name: 'A' }),
      await anOrganization(ctx, { name: 'B' }),
      await anOrganization(other, { name: 'F' }),
    ]
    const ofB = await aContact(ctx, b.id, { channel: 'email', value: 'b@c' })
    const ofOther = await aContact(other, foreign.id, { channel: 'email', value: 'c@d' })
    const of = (id: number, protocol = 'email', value = 'x@y') => [
      `${id},A,${protocol},general,${value},`,
      ',A,email,general,new@a,',
    ]
    const unknown = (id: number) => `The organization has no contact with the ID ${id}.`
    const ofA = await aContact(ctx, a.id, { channel: 'email', value: 'a@b' })
    const before = await contentOf(ctx)

    for (const [rows, reason] of [
      [of(999_999_999), unknown(999_999_999)],
      [of(ofOther.id), unknown(ofOther.id)],
      [of(ofB.id), unknown(ofB.id)],
      [
        of(ofA.id, 'telephone', '1'),
        `"The contact with the ID ${ofA.id} is not of the channel telephone, and a channel never changes."`,
      ],
    ] as const) {
      for (const onError of ['stop', 'skip'] as const) {
        const [result] = await importTexts(ctx, [contactsCsv(...rows)], { onError })
        expect(result!.counts).toEqual(counted({ failed: 2 }))
        expect(result!.failed).toContain(`,2,${reason}\n`)
        expect(result!.failed).toContain(',3,"Left out with line 2, of the same organization."\n')
      }
    }
    expect(await contentOf(ctx)).toEqual(before)

    const absent = contactsCsv(',F,email,general,a@b,', ',F,email,general,b@c,', ',A,email,general,new@a,')
    const [skipped] = await importTexts(ctx, [absent])
    expect(skipped!.counts).toEqual(counted({ created: 1, failed: 2 }))
    expect(skipped!.failed!.match(/There is no such organization in the account\./g)).toHaveLength(2)
    expect((await contentOf(other)).contacts).toEqual(['F email general c@d false'])
  })

  it('refuses ids of organizations of another account, and names that are taken', async () => {
    const [ctx, other] = [await emptyAccount(), await emptyAccount()]
    const foreign = await anOrganization(other, { name: 'F' })
    const own = await anOrganization(ctx, { name: 'Own' })
    await anOrganization(ctx, { name: 'Taken' })

    const [result] = await unchanged(database, () =>
      importTexts(ctx, [csv('ID,Name', `${foreign.id},F`, `${own.id},Taken`, 'x,Y', '1,')]),
    )

    expect(result!.counts).toEqual(counted({ failed: 4 }))
    const lines = result!.failed!.split('\n')
    for (const [line, reason] of [
      [2, `There is no organization with the ID ${foreign.id} in the account.`],
      [3, '"Name ""Taken"" has already been taken."'],
      [4, '"ID ""x"" is neither a global id nor a positive integer."'],
      [5, "Name can't be blank."],
    ] as const)
      expect(lines.filter((text) => text.endsWith(`,${line},${reason}`))).toHaveLength(1)
  })

  it('with --on-error stop ends with the batch in which the database has refused a row', async () => {
    const ctx = await emptyAccount()
    const names = Array.from({ length: 6000 }, (_, i) => `n${i}`)
    await importTexts(ctx, [organizationsCsv(...names.map((name) => `,${name},,,,`))])
    const rows = names.map((name) => `,${name},email,general,a@b,`)

    const [result] = await importTexts(ctx, [contactsCsv(',Nobody,email,general,a@b,', ...rows)], { onError: 'stop' })

    const { created } = result!.counts
    expect(result!.counts.failed).toBe(1)
    expect(created).toBeGreaterThan(0)
    expect(created).toBeLessThan(6000)
    expect((await contentOf(ctx)).contacts).toHaveLength(created!)
  })

  it('leaves a report that, once mended, can be imported as it is, and then everything is there', async () => {
    const ctx = await emptyAccount()
    const [mended, whole] = [await emptyAccount(), await emptyAccount()]
    const organizations = organizationsCsv(',A,,,,', ',B,A,,,', ',C,,,,')
    const rows = (label: string, name: string, address: string) => [
      ',A,email,general,a@b,true',
      ',A,email,general,\t=a@b,true',
      `,B,telephone,${label},"+1, 2",`,
      ',B,telephone,fax,1,',
      `,${name},email,general,${address},`,
      ',C,email,service_desk,c@d,',
    ]
    await importTexts(whole, [organizations, contactsCsv(...rows('fax', 'C', 'c@d'))])
    const [, first] = await importTexts(mended, [organizations, contactsCsv(...rows('faxx', 'C', 'c-d'))])
    expect(first!.counts).toEqual(counted({ created: 2, failed: 4 }))

    const text = first!.failed!.replace(',faxx,', ',fax,').replace(',c-d,', ',c@d,')
    const [second] = await importTexts(mended, [text], { onError: 'stop' })

    expect(second!.counts).toEqual(counted({ created: 4 }))
    expect(await exportTexts(mended)).toEqual(await exportTexts(whole))
    expect((await contentOf(ctx)).contacts).toEqual([])
  })
})

// Every kind of name that a spreadsheet, a CSV reader or a database could take for something else.
const awkward = fc.constantFrom(
  ...['"', '""', ',', ';', "'", '=', '+', '-', '@', '=1+1', '\\', '\\N', 'null', 'ID', 'é', 'e\u0301', '😀', 'ß'],
  ...['a', 'b', ' ', '%', '_', '#', '\u00a0x', '\u200bx', '{}', '$1', '1', 'true', 'عربى', '\ufeffx'],
)
const text = fc.array(awkward, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(''))
const visible = text.filter((given) => /[\p{L}\p{N}\p{P}\p{S}]/u.test(given))
const contact = fc.oneof(
  fc.record({
    channel: fc.constant('telephone' as const),
    label: fc.constantFrom(...channelLabels.telephone),
    value: text.map((given) => `${given}1`),
    integration: fc.boolean(),
  }),
  fc.record({
    channel: fc.constant('email' as const),
    label: fc.constantFrom(...channelLabels.email),
    value: text.map((given) => `${given.replace(/[\s@\u00a0\ufeff]/gu, '')}x@example.com`),
    integration: fc.boolean(),
  }),
)
const organization = fc.record({
  name: visible,
  /** The place of the parent among those before it. */
  parent: fc.option(fc.nat()),
  disabled: fc.boolean(),
  source: fc.option(visible),
  sourceID: fc.option(visible),
  contacts: fc.array(contact, { maxLength: 5 }),
})
const tree = fc.uniqueArray(organization, { maxLength: 8, selector: ({ name }) => name.trim() })

describe('the way out and in again', () => {
  it('ends with the same bytes, whatever the names and values are', async () => {
    await fc.assert(
      fc.asyncProperty(tree, fc.constantFrom<Delimiter>('comma', 'semicolon', 'tab'), async (tree, delimiter) => {
        const [from, to] = [await emptyAccount(), await emptyAccount()]
        const ids: number[] = []
        for (const { name, parent, disabled, source, sourceID, contacts } of tree) {
          const parentId = parent === null || ids.length === 0 ? null : ids[parent % ids.length]
          const { id } = await anOrganization(from, { name, parentId, disabled, source, sourceID })
          ids.push(id)
          // Twice: some are there several times.
          for (const each of [...contacts, ...contacts.slice(0, 2)]) await aContact(from, id, each)
        }
        const out = await exportTexts(from, delimiter)

        const results = await importTexts(to, out, { onError: 'stop' })

        expect(results.map(({ failed }) => failed)).toEqual([undefined, undefined])
        expect(await exportTexts(to, delimiter)).toEqual(out)
        const rows = out.map((text) => text.split('\n').length - 2)
        expect(results.map(({ counts }) => counts.created)).toEqual(rows)
        // The same into where it comes from changes nothing, with ids and without.
        for (const texts of [out, await exportTexts(from, delimiter, true)]) {
          const again = await unchanged(database, () => importTexts(from, texts))
          expect(again.map(({ counts }) => counts)).toEqual(rows.map((n) => counted({ unchanged: n })))
        }
      }),
      { numRuns: 20 },
    )
  })

  it('is the same in every encoding', async () => {
    const ctx = await emptyAccount()
    const { id } = await anOrganization(ctx, { name: 'Ünï 😀' })
    await aContact(ctx, id, { channel: 'email', value: 'ü@example.com' })
    const out = await exportTexts(ctx)
    const asUtf16 = out.map((text) => Buffer.from(text, 'utf16le'))
    const dresses = [
      out.map((text) => Buffer.from(`\ufeff${text}`)),
      out.map((text) => Buffer.from(`\ufeff${text.replaceAll('\n', '\r\n')}`, 'utf16le')),
      asUtf16,
    ]

    for (const texts of dresses) {
      const to = await emptyAccount()
      await importTexts(to, texts, { onError: 'stop' })
      expect(await exportTexts(to)).toEqual(out)
    }
  })
})

describe('a dry run', () => {
  it('changes nothing, and counts what the import then does', async () => {
    const ctx = await emptyAccount()
    const old = await anOrganization(ctx, { name: 'Old' })
    await aContact(ctx, old.id, { channel: 'email', value: 'a@b', integration: true })
    const other = await anOrganization(ctx, { name: 'Other' })
    const contact = await aContact(ctx, other.id, { channel: 'email', value: 'a@b', integration: true })
    await aContact(ctx, other.id, { channel: 'email', value: 'b@c', integration: true })
    const texts = [
      organizationsCsv(
        `${old.id},Renamed,,,,`,
        ',New,Renamed,,,',
        ',Newer,New,,,',
        ',Other,,,,',
        ',Wrong,Nowhere,,,',
        ',Wronger,Wrong,,,',
      ),
      csv(
        'ID,Organization,Contact Protocol,Contact Label,Contact URI,Address City,Integration',
        // Of organizations that are only in the other file.
        ',New,email,general,a@b,,true',
        ',New,email,general,a@b,,true',
        ',New,,,,Bern,',
        '5,Newer,email,general,a@b,,',
        ',Newer,email,general,b@c,,',
        // Of one that is there under another name.
        ',Renamed,email,general,b@c,,true',
        ',Old,email,general,a@b,,',
        `${contact.id},Other,email,general,c@d,,true`,
        ',Wrong,email,general,a@b,,',
        ',Wronger,fax,general,a@b,,',
      ),
    ]

    const dry = await unchanged(database, () => importTexts(ctx, texts, { isDry: true }))
    const real = await importTexts(ctx, texts)

    expect(dry.map(({ counts, failed }) => [counts, failed])).toEqual(
      real.map(({ counts, failed }) => [counts, failed]),
    )
    expect(real.map(({ counts }) => counts)).toEqual([
      counted({ created: 2, updated: 1, unchanged: 1, failed: 2 }),
      counted({ created: 3, updated: 1, deleted: 2, failed: 5, addresses: 1 }),
    ])
  })

  it('of an account that is not there yet finds nothing in it', async () => {
    const nobody: Context = { db: database.db, account: 0, permissions: allPermissions }
    const texts = [organizationsCsv(',A,,,,', ',B,A,,,'), contactsCsv(',B,email,general,a@b,true')]

    const results = await unchanged(database, () => importTexts(nobody, texts, { isDry: true }))

    expect(results.map(({ counts }) => counts)).toEqual([counted({ created: 2 }), counted({ created: 1 })])
  })
})

it('every row of a file is counted once', async () => {
  const row = fc.constantFrom(
    ...[',A,email,general,a@b,', ',A,email,general,b@c,true', ',B,website,general,b.example,', ',C,email,general,a@b,'],
    ...[',B,,,,street', '9,B,email,general,a@b,', ',,email,general,a@b,', ',B,fax,general,1,', ',D,email', ',,,,,'],
  )
  const header = 'ID,Organization,Contact Protocol,Contact Label,Contact URI,Integration'
  const ctx = await emptyAccount()
  await importTexts(ctx, [organizationsCsv(',A,,,,', ',B,,,,')])
  await fc.assert(
    fc.asyncProperty(fc.array(row, { maxLength: 12 }), async (rows) => {
      const sorted = rows.toSorted((a, b) => (a.split(',')[1]! < b.split(',')[1]! ? -1 : 1))
      for (const isDry of [true, false]) {
        const [result] = await importTexts(ctx, [csv(header, ...sorted)], { isDry })
        const { created, updated, unchanged: same, failed, addresses } = result!.counts as FileCounts
        const filled = sorted.filter((text) => text !== ',,,,,').length
        expect(created + updated + same + failed + addresses).toBe(filled)
      }
    }),
    { numRuns: 30 },
  )
})
