import { type ExecFileException, execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildSchema, type GraphQLObjectType } from 'graphql'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { changesBetween, describeChanges, holdToReleased } from '../bin/schema-changes.ts'
import { printPossibleTypes } from '../src/graphql/artefacts.ts'
import { createSchema, printSortedSchema } from '../src/graphql/schema.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

const released = `
  directive @once(key: String!) on FIELD
  type Query { thing(id: ID, size: Int = 1): Thing  old: Int @deprecated(reason: "gone soon") }
  interface Named { name: String }
  type Thing implements Named { name: String  size: Int }
  type Other { name: String }
  union Either = Thing | Other
  enum Color { RED GREEN }
  input Search { text: String  color: Color! }
`
const changed = (from: string, to: string) => {
  expect(released).toContain(from)
  return released.replace(from, to)
}

describe('what has changed between two schemas', () => {
  it.each<[what: string, after: () => string, told: string[]]>([
    ['nothing', () => released, []],
    ['a description', () => changed('type Other', '"Told." type Other'), []],
    ['a field that went', () => changed('name: String  size: Int', 'name: String'), ['breaking Thing.size']],
    [
      'a deprecated field that went',
      () => changed('old: Int @deprecated(reason: "gone soon")', ''),
      ['breaking Query.old'],
    ],
    ['another type of a field', () => changed('size: Int }', 'size: String }'), ['breaking Thing.size']],
    ['a field that may no longer be null', () => changed('size: Int }', 'size: Int! }'), ['safe Thing.size']],
    ['an argument that went', () => changed('id: ID, ', ''), ['breaking Query.thing(id:)']],
    ['an argument that is asked for', () => changed('id: ID,', 'id: ID!,'), ['breaking Query.thing(id:)']],
    ['an argument that came', () => changed('id: ID,', 'id: ID, by: ID,'), ['dangerous Query.thing(by:)']],
    ['another default', () => changed('= 1', '= 2'), ['dangerous Query.thing(size:)']],
    ['a value that went', () => changed('RED GREEN', 'RED'), ['breaking Color.GREEN']],
    ['a value that came', () => changed('RED GREEN', 'RED GREEN BLUE'), ['dangerous Color.BLUE']],
    ['a member that went', () => changed('Thing | Other', 'Thing'), ['breaking Either']],
    ['an interface that went', () => changed('Thing implements Named', 'Thing'), ['breaking Thing']],
    ['an input that is asked for', () => changed('text: String', 'text: String!'), ['breaking Search.text']],
    ['an input that came', () => changed('text: String', 'text: String  size: Int'), ['safe Search.size']],
    [
      'one of several inputs',
      () => changed('Search { text: String  color: Color! }', 'Search @oneOf { text: String  color: Color }'),
      ['safe Search.color', 'breaking Search'],
    ],
    ['a directive that went', () => changed('directive @once(key: String!) on FIELD', ''), ['breaking @once']],
    ['an argument of a directive', () => changed('key: String!', 'key: Int!'), ['breaking @once(key:)']],
    ['an argument for a directive', () => changed('key: String!', 'key: String!, by: ID!'), ['breaking @once(by:)']],
    ['a place of a directive', () => changed('on FIELD', 'on QUERY'), ['safe @once', 'breaking @once']],
    [
      'a type that went',
      () => changed('type Other { name: String }', '').replace(' | Other', ''),
      ['breaking Either', 'breaking Other'],
    ],
    [
      'a type that came, with all that it has',
      () => `${released} type New { one(by: ID): Int  two: Int }`,
      ['safe New'],
    ],
    ['a deprecation', () => changed('size: Int }', 'size: Int @deprecated(reason: "x") }'), ['safe Thing.size']],
    [
      'a deprecation of an argument',
      () => changed('id: ID,', 'id: ID @deprecated(reason: "x"),'),
      ['safe Query.thing(id:)'],
    ],
    ['mutations', () => `${released} type Mutation { do: Int }`, ['safe schema', 'safe Mutation']],
  ])('is told by its coordinate: %s', async (_, after, told) => {
    const changes = await changesBetween(released, after())

    expect(changes.map(({ level, coordinate }) => `${level} ${coordinate}`).toSorted()).toEqual(told.toSorted())
  })

  it('hides nothing behind something else on the same type', async () => {
    const after = changed('Thing | Other', 'Thing | New').replace('size: Int }', 'length: Int }')

    const changes = await changesBetween(released, `${after} type New { size: Int }`)

    const breaking = changes.filter(({ level }) => level === 'breaking').map(({ coordinate }) => coordinate)
    expect(breaking.toSorted()).toEqual(['Either', 'Thing.size'])
  })

  it('is described in groups, the worst first', async () => {
    const after = changed('RED GREEN', 'RED GREEN BLUE').replace('size: Int }', 'length: Int }')

    expect(describeChanges(await changesBetween(released, after)).replace(/: [A-Z].*/g, '')).toBe(
      ['Breaking:', '  Thing.size', '', 'Dangerous:', '  Color.BLUE', '', 'Safe:', '  Thing.length'].join('\n'),
    )
    expect(describeChanges([])).toBe('Nothing has changed, besides descriptions perhaps.')
  })
})

describe('the schema held to the released one', () => {
  const broken = changed('size: Int }', '}').replace('id: ID, ', '')
  const hold = (after: string, changelog: string) => holdToReleased(released, after, changelog)
  const silent = '# Changelog\n\n## 0.2.0 - unreleased\n\n- Something else.\n\n## 0.1.0\n\n- The first.\n'
  const naming = (line: string) => silent.replace('- Something else.', line)

  it('may not break it', async () => {
    const { isHeld, text } = await hold(broken, silent)

    expect(isHeld).toBe(false)
    expect(text).toBe(`The schema breaks clients of the released one, and CHANGELOG.md does not say so under 0.2.0:
  Query.thing(id:): Argument 'id: ID' was removed from field 'Query.thing'
  Thing.size: Field 'size' was removed from object type 'Thing'
Undo that; or keep what is there and deprecate it first; or name it in CHANGELOG.md, under 0.2.0, by a line that begins with "Breaking: \`Query.thing(id:)\`, \`Thing.size\`".`)
  })

  it.each([
    ['each on a line', '- Breaking: `Thing.size` is gone.\n- Breaking: `Query.thing(id:)` too.'],
    ['on one', '- Breaking: `Query.thing(id:)`, `Thing.size`: they are gone.'],
    ['on one that is wrapped', '- Breaking: `Query.thing(id:)`,\n  `Thing.size`: they are gone.'],
    ['without bullets', 'Breaking: `Thing.size`.\n\nBreaking: `Query.thing(id:)`.'],
  ])('may break what the changelog names, %s', async (_, line) => {
    expect(await hold(broken, naming(line))).toMatchObject({ isHeld: true })
  })

  it.each([
    ['a part of it', '- Breaking: `Query.thing(id:)`.'],
    ['what stands beneath', '- Breaking: `Query.thing(id:)`, `Thing`.'],
    ['an older version', '- Nothing.\n\n## 0.1.9\n\n- Breaking: `Query.thing(id:)`, `Thing.size`.'],
    ['another kind of line', '- Fixed: `Query.thing(id:)`, `Thing.size`.'],
    ['something else instead', '- Breaking: `Query.thing(id:)`, instead of which there is `Thing.size`.'],
  ])('may not break what it does not: it names %s', async (_, line) => {
    const { isHeld, text } = await hold(broken, naming(line))

    expect(isHeld).toBe(false)
    expect(text).toContain('`Thing.size`')
  })

  it.each(['', '# Changelog\n'])('may not break it without a changelog', async (changelog) => {
    expect(await hold(broken, changelog)).toMatchObject({ isHeld: false })
  })

  it('may grow', async () => {
    const { isHeld, text } = await hold(changed('size: Int }', 'size: Int  length: Int }'), silent)

    expect(isHeld).toBe(true)
    expect(text).not.toContain('length')
  })

  it('tells what may surprise, and lets it pass', async () => {
    const { isHeld, text } = await hold(changed('RED GREEN', 'RED GREEN BLUE'), silent)

    expect(isHeld).toBe(true)
    expect(text).toMatch(/^Dangerous:\n {2}Color\.BLUE: /m)
  })
})

/** How a program ended, and all that it has printed. */
interface Ended {
  code: number
  stdout: string
  stderr: string
}

function run(program: string, args: readonly string[], { cwd = root, input = '' } = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(program, args, { cwd }, (error: ExecFileException | null, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    )
    child.stdin!.end(input)
  })
}

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'contacts-gateway-schema-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

describe('npm run schema:diff', () => {
  const diff = (args: readonly string[], input?: string) =>
    run(process.execPath, [join(root, 'bin/schema.ts'), 'diff', ...args], { input })
  const file = async (name: string, content: string) => {
    await writeFile(join(folder, name), content)
    return join(folder, name)
  }

  it('compares with the schema of the project', async () => {
    const grown = printSortedSchema(createSchema()).replace(
      'type Organization implements Node {',
      '$&\n  motto: String\n',
    )

    expect(await diff([await file('old.graphql', grown)])).toEqual({
      code: 1,
      stdout: "Breaking:\n  Organization.motto: Field 'motto' was removed from object type 'Organization'\n",
      stderr: '',
    })
  })

  it('compares two files, and ends with 0 when nothing breaks', async () => {
    const args = [
      await file('old.graphql', released),
      await file('new.graphql', changed('RED GREEN', 'RED GREEN BLUE')),
    ]

    expect(await diff(args)).toEqual({
      code: 0,
      stdout: "Dangerous:\n  Color.BLUE: Enum value 'BLUE' was added to enum 'Color'\n",
      stderr: '',
    })
  })

  it('reads from standard input', async () => {
    expect(await diff(['-', await file('new.graphql', released)], released)).toMatchObject({
      code: 0,
      stdout: 'Nothing has changed, besides descriptions perhaps.\n',
    })
  })

  it('reads from addresses, with the headers that are given', async () => {
    const server = createServer((request, response) => {
      const isKnown = request.headers.authorization === 'Bearer a:b' && request.headers['x-xurrent-account'] === 'demo'
      response.writeHead(isKnown ? 200 : 401).end(isKnown ? released : '{"message":"Unauthorized"}')
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/schema.graphql`
    const newer = await file('new.graphql', released)

    const known = await diff([
      '--header',
      'Authorization: Bearer a:b',
      '--header',
      'x-xurrent-account:demo',
      url,
      newer,
    ])
    const unknown = await diff([url, newer])
    server.close()

    expect(known).toMatchObject({ code: 0, stderr: '' })
    expect(unknown).toEqual({
      code: 2,
      stdout: '',
      stderr: `There is no schema to be read from ${url}: HTTP 401 {"message":"Unauthorized"}\n`,
    })
  })

  it.each([
    ['a file that is not there', () => 'missing.graphql', 'missing.graphql: ENOENT'],
    ['something else', () => 'package.json', 'package.json: Syntax Error'],
    ['an address where nobody answers', () => 'http://127.0.0.1:9/schema.graphql', 'fetch failed'],
  ])('says what it cannot read, and ends with 2: %s', async (_, from, reason) => {
    const { code, stdout, stderr } = await diff([from()])

    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(reason)
    expect(stderr.split('\n')).toHaveLength(2)
  })

  it('says by --help how it ends', async () => {
    const { code, stdout } = await diff(['--help'])

    expect(code).toBe(0)
    expect(stdout).toContain('The exit code is 1 where something breaks')
  })
})

describe('a scratch copy of the project', () => {
  const scratch = async (path: string, change: (content: string) => string) => {
    const content = await readFile(join(folder, path), 'utf8')
    const next = change(content)
    expect(next, path).not.toBe(content)
    await writeFile(join(folder, path), next)
  }
  const npm = (script: string) => run('npm', ['run', '--silent', script], { cwd: folder })
  const withoutSource = (content: string) => content.replace(/^ {4}sourceID: t\.exposeString\(.*\n/m, '')

  beforeEach(async () => {
    for (const path of ['bin', 'src', 'CHANGELOG.md', 'package.json', 'schema.released.graphql']) {
      await cp(join(root, path), join(folder, path), { recursive: true })
    }
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  })

  it('is held to the released schema', async () => {
    expect(await npm('schema:check')).toMatchObject({ code: 0, stderr: '' })
  })

  it('is told what to do about a field that it has lost, until the changelog names it', async () => {
    await scratch('src/graphql/organizations.ts', withoutSource)
    const silent = await npm('schema:check')
    await scratch('CHANGELOG.md', (content) =>
      content.replace(/^## .*\n/m, '$&\n- Breaking: `Organization.sourceID`.\n'),
    )

    const told = await npm('schema:check')

    expect(silent).toMatchObject({ code: 1, stdout: '' })
    expect(silent.stderr).toContain("  Organization.sourceID: Field 'sourceID' was removed from object type")
    expect(silent.stderr).toMatch(/^Undo that; .* begins with "Breaking: `Organization\.sourceID`"\.$/m)
    expect(told).toMatchObject({ code: 0, stderr: '' })
  })

  it('writes all files that are made of the schema', async () => {
    await scratch('src/graphql/organizations.ts', withoutSource)

    const ended = await npm('schema:write')

    expect(ended).toMatchObject({ code: 0, stderr: '' })
    const [sdl, introspection, possibleTypes] = await Promise.all(
      ['schema.graphql', 'schema.introspection.json', 'possibleTypes.json'].map((name) =>
        readFile(join(folder, name), 'utf8'),
      ),
    )
    const organization = buildSchema(sdl!).getType('Organization') as GraphQLObjectType
    expect(Object.keys(organization.getFields())).not.toContain('sourceID')
    expect(introspection).not.toContain('sourceID')
    expect(possibleTypes).toBe(printPossibleTypes(createSchema()))
  })
})

describe('.ci/run', () => {
  it('holds the schema to the released one', async () => {
    const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))

    expect(await readFile(join(root, '.ci/run'), 'utf8')).toMatch(/^npm run check \|\| fault /m)
    expect(scripts.check).toContain('npm run -s schema:check')
  })
})
