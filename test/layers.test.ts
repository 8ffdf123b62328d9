import { readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { parseAst } from 'vitest/node'
import packageJson from '../package.json' with { type: 'json' }

/** Which folders and files of src each of them may import. */
const mayImport: Record<string, readonly string[]> = {
  db: ['db'],
  domain: ['db', 'domain'],
  auth: ['db', 'domain', 'auth'],
  exchange: ['db', 'domain', 'exchange'],
  pull: ['db', 'domain', 'pull'],
  live: ['db', 'domain', 'live'],
  telemetry: ['db', 'telemetry'],
  graphql: ['db', 'domain', 'auth', 'live', 'telemetry', 'http', 'graphql'],
  rest: ['db', 'domain', 'auth', 'live', 'http', 'rest'],
  http: ['telemetry', 'http'],
  cli: [
    ...['config.ts', 'app.ts', 'db', 'domain', 'auth', 'exchange', 'pull', 'live', 'telemetry'],
    ...['graphql', 'rest', 'http', 'cli'],
  ],
  'app.ts': ['db', 'domain', 'auth', 'live', 'telemetry', 'graphql', 'rest', 'http'],
  'config.ts': [],
  'main.ts': ['cli', 'config.ts'],
}

/** What knows the database, and the files that may name it. */
const drivers: Record<string, readonly string[]> = {
  postgres: ['db/client.ts'],
  '@electric-sql/pglite': ['db/client.ts'],
  'drizzle-orm/postgres-js': ['db/client.ts'],
  'drizzle-orm/pglite': ['db/client.ts', 'db/migrate.ts'],
}

const readerOfEnvironment = 'main.ts'

/** Development packages that are loaded where they are installed. */
const leftOutInProduction = ['@graphql-yoga/render-graphiql']

/** Source texts by their path beneath src. */
type Files = Record<string, string>

describe('the files of src', () => {
  const files = readFiles()

  it('are there', () => {
    expect(Object.keys(files).length).toBeGreaterThan(30)
    expect(Object.values(files).flatMap(importsOf).length).toBeGreaterThan(100)
  })

  it('import only what their layer may', () => {
    expect(layerFaults(files)).toEqual([])
  })

  it('name the drivers of the database in one place', () => {
    expect(driverFaults(files)).toEqual([])
  })

  it('import nothing but files of src and dependencies', () => {
    expect(originFaults(files, [...Object.keys(packageJson.dependencies), ...leftOutInProduction])).toEqual([])
  })

  it('leave the environment to one reader', () => {
    expect(environmentFaults(files)).toEqual([])
  })

  it('import each other in no circle', () => {
    expect(cyclesIn(files)).toEqual([])
  })
})

describe('the imports of a file', () => {
  it.each<[string, Import[]]>([
    [`import a from './a.ts'`, [{ from: './a.ts', typeOnly: false }]],
    [`import { a, type B } from './a.ts'`, [{ from: './a.ts', typeOnly: false }]],
    [`import * as a from './a.ts'`, [{ from: './a.ts', typeOnly: false }]],
    [`import './a.ts'`, [{ from: './a.ts', typeOnly: false }]],
    [`import a from './a.json' with { type: 'json' }`, [{ from: './a.json', typeOnly: false }]],
    [`export { a } from './a.ts'`, [{ from: './a.ts', typeOnly: false }]],
    [`export * from './a.ts'`, [{ from: './a.ts', typeOnly: false }]],
    [`const a = await import('./a.ts')`, [{ from: './a.ts', typeOnly: false }]],
    [`const f = async () => (await import(\`./a.ts\`)).a`, [{ from: './a.ts', typeOnly: false }]],
    [`import type { A } from './a.ts'`, [{ from: './a.ts', typeOnly: true }]],
    [`export type { A } from './a.ts'`, [{ from: './a.ts', typeOnly: true }]],
    [`type A = import('./a.ts').A`, [{ from: './a.ts', typeOnly: true }]],
    [`function f(a: typeof import('./a.ts')) {}`, [{ from: './a.ts', typeOnly: true }]],
    // Only the names go when types are stripped: the file is loaded all the same.
    [`import { type A } from './a.ts'`, [{ from: './a.ts', typeOnly: false }]],
    [`const a = await import(name)`, [{ from: undefined, typeOnly: false }]],
    [`const a = await import(\`./\${name}.ts\`)`, [{ from: undefined, typeOnly: false }]],
    [`// import './a.ts'\n/* import('./b.ts') */ const a = "import './c.ts'"`, []],
    [`const a = { import: 'x' }.import`, []],
    [`export const a = import.meta.url`, []],
  ])('are read from %j', (source, imports) => {
    expect(importsOf(source)).toEqual(imports)
  })
})

describe('the check of the layers', () => {
  const base: Files = Object.fromEntries(
    Object.keys(mayImport).map((layer) => [layer.endsWith('.ts') ? layer : `${layer}/a.ts`, '']),
  )

  it.each(Object.keys(base).flatMap((from) => Object.keys(base).map((to) => [from, to] as const)))(
    'knows whether %s may import %s, in every way to import',
    (from, to) => {
      const path = pathFrom(from, to)
      const ways = [
        `import '${path}'`,
        `import type { A } from '${path}'`,
        `await import('${path}')`,
        `export * from '${path}'`,
      ]

      const faults = ways.map((source) => layerFaults({ ...base, [from]: source }))

      const fault = mayImport[layerOf(from)]!.includes(layerOf(to)) ? [] : [`${from} must not import ${to}`]
      expect(faults).toEqual(ways.map(() => fault))
    },
  )

  it('lets the arrows go one way only', () => {
    const layers = Object.keys(mayImport)

    const bothWays = layers.filter((one) =>
      layers.some((other) => one !== other && mayImport[one]!.includes(other) && mayImport[other]!.includes(one)),
    )

    expect(bothWays).toEqual([])
  })

  it('looks into every folder, however deep', () => {
    const files = { ...base, 'db/deep/er/a.ts': `import '../../../domain/a.ts'` }

    expect(layerFaults(files)).toEqual(['db/deep/er/a.ts must not import domain/a.ts'])
  })

  it('does not know new folders and files', () => {
    expect(layerFaults({ ...base, 'utils/a.ts': '', 'server.ts': '' })).toEqual([
      'utils/a.ts belongs to no layer',
      'server.ts belongs to no layer',
    ])
  })
})

describe('the check of the drivers', () => {
  it.each([
    [`import postgres from 'postgres'`, 'postgres'],
    [`import type { Sql } from 'postgres'`, 'postgres'],
    [`import 'postgres/types'`, 'postgres/types'],
    [`await import('@electric-sql/pglite')`, '@electric-sql/pglite'],
    [`import '@electric-sql/pglite/live'`, '@electric-sql/pglite/live'],
    [`import { drizzle } from 'drizzle-orm/postgres-js'`, 'drizzle-orm/postgres-js'],
    [`import 'drizzle-orm/postgres-js/migrator'`, 'drizzle-orm/postgres-js/migrator'],
    [`import 'drizzle-orm/pglite'`, 'drizzle-orm/pglite'],
  ])('finds %s', (source, named) => {
    const files = { 'db/client.ts': source, 'db/tables.ts': source, 'domain/a.ts': source }

    expect(driverFaults(files)).toEqual([`db/tables.ts must not name ${named}`, `domain/a.ts must not name ${named}`])
  })

  it('lets the migrator name what its types need, and nothing more', () => {
    const source = `import 'drizzle-orm/pglite/migrator'\nimport '@electric-sql/pglite'`

    expect(driverFaults({ 'db/migrate.ts': source })).toEqual(['db/migrate.ts must not name @electric-sql/pglite'])
  })

  it('takes no other package for one of them', () => {
    const source = `import 'drizzle-orm'\nimport 'drizzle-orm/pg-core'\nimport 'postgres-array'\nimport './postgres'`

    expect(driverFaults({ 'domain/a.ts': source })).toEqual([])
  })
})

describe('the check of origins', () => {
  const check = (source: string) =>
    originFaults({ 'db/a.ts': source, 'db/b.ts': '', 'app.ts': '' }, ['zod', '@pothos/core'])

  it.each([
    `import './b.ts'`,
    `import '../app.ts'`,
    `import '../db/b.ts'`,
    `import 'node:fs/promises'`,
    `import 'zod'`,
    `import 'zod/v4'`,
    `import '@pothos/core'`,
    `import '@pothos/core/types'`,
  ])('allows %s', (source) => {
    expect(check(source)).toEqual([])
  })

  it.each([
    [`import '../../test/support/database.ts'`, '../../test/support/database.ts'],
    [`import '../../package.json' with { type: 'json' }`, '../../package.json'],
    [`import type { A } from '../../bench/a.ts'`, '../../bench/a.ts'],
    [`await import('../../drizzle.config.ts')`, '../../drizzle.config.ts'],
    [`import './missing.ts'`, './missing.ts'],
    [`import './b'`, './b'],
    [`import './b.js'`, './b.js'],
    [`import '/etc/passwd'`, '/etc/passwd'],
    [`import 'file:///etc/passwd'`, 'file:///etc/passwd'],
    [`import 'data:text/javascript,1'`, 'data:text/javascript,1'],
    [`import '#alias'`, '#alias'],
    [`import 'vitest'`, 'vitest'],
    [`import '@pothos/plugin-relay'`, '@pothos/plugin-relay'],
    [`import 'fs'`, 'fs'],
    [`import { createRequire } from 'node:module'`, 'node:module'],
    ['await import(name)', 'what only shows when it runs'],
  ])('finds %s', (source, named) => {
    expect(check(source)).toEqual([`db/a.ts must not import ${named}`])
  })
})

describe('the check of the environment', () => {
  it.each([
    'const a = process.env.A',
    `const a = process['env']`,
    'const a = process?.env',
    'const { env } = process',
    'const { env: { A } } = process',
    'f(process)',
    'const a = process',
    'const a = { process }',
    'const a = process[name]',
    'const a = globalThis.process.env',
    `const a = globalThis['process'].env`,
    `import { env } from 'node:process'`,
    `import process from 'process'`,
    `await import('node:process')`,
  ])('finds %s', (source) => {
    const files = { [readerOfEnvironment]: source, 'domain/a.ts': source }

    expect(environmentFaults(files)).toEqual(['domain/a.ts must not read the environment'])
  })

  it.each([
    'process.pid',
    'process.exitCode = 1',
    `process.on('SIGTERM', f)`,
    'function f(env: NodeJS.ProcessEnv) { return env.A }',
    'const a = { process: 1, env: 2 }',
    'a.process.exit()',
    'a.env',
    '// process.env',
    `const a = 'process.env'`,
  ])('leaves %s alone', (source) => {
    expect(environmentFaults({ 'domain/a.ts': source })).toEqual([])
  })
})

describe('the check of circles', () => {
  it.each<[string, Files, string[]]>([
    ['two files', { 'a.ts': `import './b.ts'`, 'b.ts': `import './a.ts'` }, ['a.ts → b.ts → a.ts']],
    ['a file and itself', { 'a.ts': `import './a.ts'` }, ['a.ts → a.ts']],
    [
      'files of several folders',
      { 'a.ts': `import './b/b.ts'`, 'b/b.ts': `import '../c/c.ts'`, 'c/c.ts': `export * from '../a.ts'` },
      ['a.ts → b/b.ts → c/c.ts → a.ts'],
    ],
    [
      'an import while running',
      { 'a.ts': `await import('./b.ts')`, 'b.ts': `import './a.ts'` },
      ['a.ts → b.ts → a.ts'],
    ],
    [
      'two of them',
      { 'a.ts': `import './b.ts'\nimport './c.ts'`, 'b.ts': `import './a.ts'`, 'c.ts': `import './a.ts'` },
      ['a.ts → b.ts → a.ts', 'a.ts → c.ts → a.ts'],
    ],
    [
      'one behind a straight line',
      { 'a.ts': `import './b.ts'`, 'b.ts': `import './c.ts'`, 'c.ts': `import './b.ts'` },
      ['b.ts → c.ts → b.ts'],
    ],
  ])('finds %s', (_, files, cycles) => {
    expect(cyclesIn(files)).toEqual(cycles)
  })

  it.each<[string, Files]>([
    ['types alone', { 'a.ts': `import './b.ts'`, 'b.ts': `import type { A } from './a.ts'` }],
    ['types in place', { 'a.ts': `import './b.ts'`, 'b.ts': `type A = import('./a.ts').A` }],
    [
      'two ways to one file',
      { 'a.ts': `import './b.ts'\nimport './c.ts'`, 'b.ts': `import './d.ts'`, 'c.ts': `import './d.ts'`, 'd.ts': '' },
    ],
  ])('takes no offence at %s', (_, files) => {
    expect(cyclesIn(files)).toEqual([])
  })
})

function readFiles(): Files {
  const folder = new URL('../src/', import.meta.url)
  const paths = readdirSync(fileURLToPath(folder), { recursive: true, encoding: 'utf8' })
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => /\.[cm]?[jt]sx?$/.test(path))
    .toSorted()
  return Object.fromEntries(paths.map((path) => [path, readFileSync(new URL(path, folder), 'utf8')]))
}

interface Import {
  /** As it is written; undefined where only running the file tells. */
  from: string | undefined
  typeOnly: boolean
}

interface SyntaxNode {
  type: string
  [property: string]: unknown
}

const isNode = (value: unknown): value is SyntaxNode => typeof (value as SyntaxNode | null)?.type === 'string'

/** Every node of a file with the node around it, in the order of the text. */
function* nodesOf(source: string): Generator<[SyntaxNode, SyntaxNode | undefined]> {
  yield* walk(parseAst(source, { lang: 'ts' }) as unknown as SyntaxNode, undefined)
}

function* walk(node: SyntaxNode, parent: SyntaxNode | undefined): Generator<[SyntaxNode, SyntaxNode | undefined]> {
  yield [node, parent]
  for (const child of Object.values(node).flat()) if (isNode(child)) yield* walk(child, node)
}

function importsOf(source: string): Import[] {
  return [...nodesOf(source)].flatMap(([node]) => {
    switch (node.type) {
      case 'ImportDeclaration':
        return [{ from: textOf(node.source), typeOnly: node.importKind === 'type' }]
      case 'ExportNamedDeclaration':
      case 'ExportAllDeclaration':
        return node.source ? [{ from: textOf(node.source), typeOnly: node.exportKind === 'type' }] : []
      case 'ImportExpression':
        return [{ from: textOf(node.source), typeOnly: false }]
      case 'TSImportType':
        return [{ from: textOf(node.source), typeOnly: true }]
      default:
        return []
    }
  })
}

/** The text of a literal; undefined for anything else. */
function textOf(node: unknown): string | undefined {
  if (!isNode(node)) return undefined
  if (node.type === 'Literal') return String(node.value)
  const quasis = node.type === 'TemplateLiteral' ? (node.quasis as { value: { cooked: string } }[]) : []
  return quasis.length === 1 ? quasis[0]!.value.cooked : undefined
}

/** The imports of all files, each with the file that it stands in and, where it is a path, the file that it leads to. */
const edgesOf = (files: Files) =>
  Object.entries(files).flatMap(([file, source]) =>
    importsOf(source).map((found) => ({
      ...found,
      file,
      target: found.from?.startsWith('.') ? posix.join(posix.dirname(file), found.from) : undefined,
    })),
  )

const layerOf = (file: string) => file.split('/')[0]!
const pathFrom = (file: string, target: string) => {
  const path = posix.relative(posix.dirname(file), target)
  return path.startsWith('.') ? path : `./${path}`
}

function layerFaults(files: Files): string[] {
  const known = Object.keys(files).filter((file) => layerOf(file) in mayImport)
  return [
    ...Object.keys(files)
      .filter((file) => !known.includes(file))
      .map((file) => `${file} belongs to no layer`),
    ...edgesOf(files)
      .filter(({ file, target }) => known.includes(file) && target !== undefined)
      .filter(({ file, target }) => !mayImport[layerOf(file)]!.includes(layerOf(target!)))
      .map(({ file, target }) => `${file} must not import ${target}`),
  ]
}

const isOf = (from: string, name: string) => from === name || from.startsWith(`${name}/`)

function driverFaults(files: Files): string[] {
  return edgesOf(files)
    .filter(({ file, from = '' }) =>
      Object.entries(drivers).some(([driver, owners]) => isOf(from, driver) && !owners.includes(file)),
    )
    .map(({ file, from }) => `${file} must not name ${from}`)
}

function originFaults(files: Files, dependencies: readonly string[]): string[] {
  // It hands out `require`, whose imports nothing here would see.
  const isAllowedBuiltin = (from: string) => from.startsWith('node:') && isBuiltin(from) && from !== 'node:module'
  return edgesOf(files)
    .filter(({ from, target }) => {
      if (from === undefined) return true
      if (target !== undefined) return !(target in files)
      return !isAllowedBuiltin(from) && !dependencies.some((name) => isOf(from, name))
    })
    .map(({ file, from }) => `${file} must not import ${from ?? 'what only shows when it runs'}`)
}

function environmentFaults(files: Files): string[] {
  return Object.entries(files)
    .filter(([file, source]) => file !== readerOfEnvironment && readsEnvironment(source))
    .map(([file]) => `${file} must not read the environment`)
}

/** Whether a file does more with `process` than to name another property of it. */
function readsEnvironment(source: string): boolean {
  if (importsOf(source).some(({ from }) => from === 'node:process' || from === 'process')) return true
  return [...nodesOf(source)].some(([node, parent]) => {
    const isProcess =
      isGlobalProcess(node) ||
      (node.type === 'Identifier' && node.name === 'process' && !isNameOfProperty(node, parent))
    if (!isProcess) return false
    const property = parent?.type === 'MemberExpression' && parent.object === node ? propertyOf(parent) : undefined
    return property === undefined || property === 'env'
  })
}

const isGlobalProcess = (node: SyntaxNode) =>
  node.type === 'MemberExpression' &&
  propertyOf(node) === 'process' &&
  ['globalThis', 'global'].includes(String((node.object as SyntaxNode).name))

/** The name of the property that is read; undefined where only running the file tells. */
const propertyOf = (node: SyntaxNode) =>
  node.computed ? textOf(node.property) : String((node.property as SyntaxNode).name)

function isNameOfProperty(node: SyntaxNode, parent: SyntaxNode | undefined): boolean {
  if (parent?.type === 'MemberExpression') return parent.property === node && !parent.computed
  return parent?.type === 'Property' && parent.key === node && !parent.computed && !parent.shorthand
}

/** Each circle of imports once, as a path. Types do not count: they are gone when the file runs. */
function cyclesIn(files: Files): string[] {
  const edges = edgesOf(files).filter(({ typeOnly, target }) => !typeOnly && target !== undefined)
  const cycles: string[] = []
  const done = new Set<string>()
  const follow = (file: string, path: readonly string[]) => {
    const at = path.indexOf(file)
    if (at >= 0) cycles.push([...path.slice(at), file].join(' → '))
    if (at >= 0 || done.has(file)) return
    for (const edge of edges) if (edge.file === file) follow(edge.target!, [...path, file])
    done.add(file)
  }
  for (const file of Object.keys(files)) follow(file, [])
  return cycles
}
