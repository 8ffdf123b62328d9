import { type Change, CriticalityLevel, diff } from '@graphql-inspector/core'
import { buildSchema } from 'graphql'

/** What a change means to programs that know the schema as it was, the worst first. */
const levels = ['breaking', 'dangerous', 'safe'] as const
type Level = (typeof levels)[number]

export interface SchemaChange {
  level: Level
  /** What it is about, as the GraphQL specification writes it, e.g. `Organization.contacts(first:)`. */
  coordinate: string
  message: string
}

const levelOf: Record<CriticalityLevel, Level> = {
  [CriticalityLevel.Breaking]: 'breaking',
  [CriticalityLevel.Dangerous]: 'dangerous',
  [CriticalityLevel.NonBreaking]: 'safe',
}

/** What has changed from one schema to another besides descriptions. Both are texts. */
export async function changesBetween(before: string, after: string): Promise<SchemaChange[]> {
  const found = (await diff(buildSchema(before), buildSchema(after))).filter(
    ({ type }) => !type.includes('DESCRIPTION'),
  )
  return found
    .filter((change, i) => !isPart(change, found.slice(0, i)))
    .map((change) => ({
      level: levelOf[change.criticality.level],
      coordinate: coordinateOf(change),
      message: change.message.replace(/\.$/, ''),
    }))
}

/** Whether a change goes without saying after those before: the fields of a new type, the reason of a deprecation. */
const isPart = ({ criticality, path }: Change, before: readonly Change[]) =>
  criticality.level === CriticalityLevel.NonBreaking &&
  before.some((whole) => wholes.test(whole.type) && `${path}.`.startsWith(`${whole.path}.`))

const wholes = /^(?:TYPE|DIRECTIVE|FIELD|FIELD_ARGUMENT|INPUT_FIELD|ENUM_VALUE)_ADDED$|_DEPRECATION_|^DIRECTIVE_USAGE_/

/** The inspector writes `Type.field.argument`, `@directive.argument`, and `Type.field.@used` of a directive in the schema. */
function coordinateOf({ type, path = '', meta }: Change): string {
  const [first = '', ...parts] = path.replace(/\.@.*$/, '').split('.')
  if (type === 'DIRECTIVE_ARGUMENT_ADDED') parts.push(meta.addedDirectiveArgumentName)
  const isArgument = parts.length === 2 || (first.startsWith('@') && parts.length === 1)
  const argument = isArgument ? `(${parts.pop()}:)` : ''
  return ([first, ...parts].join('.') || 'schema') + argument
}

/** The changes of a level, each on a line. */
const linesOf = (changes: readonly SchemaChange[], level: Level) =>
  changes.filter((change) => change.level === level).map(({ coordinate, message }) => `  ${coordinate}: ${message}`)

/** All changes as a text, in groups. */
export function describeChanges(changes: readonly SchemaChange[]): string {
  const groups = levels
    .map((level) => ({ level, lines: linesOf(changes, level) }))
    .filter(({ lines }) => lines.length > 0)
    .map(({ level, lines }) => [`${level[0]!.toUpperCase()}${level.slice(1)}:`, ...lines].join('\n'))
  return groups.join('\n\n') || 'Nothing has changed, besides descriptions perhaps.'
}

export interface Verdict {
  isHeld: boolean
  text: string
}

/** Whether clients of the released schema are served by the present one, but for what the changelog names as broken. */
export async function holdToReleased(released: string, present: string, changelog: string): Promise<Verdict> {
  const changes = await changesBetween(released, present)
  const { version, broken } = newestVersion(changelog)
  const isNamed = ({ level, coordinate }: SchemaChange) => level === 'breaking' && broken.includes(coordinate)
  const unnamed = changes.filter((change) => change.level === 'breaking' && !isNamed(change))
  if (unnamed.length > 0) {
    const names = [...new Set(unnamed.map(({ coordinate }) => `\`${coordinate}\``))].join(', ')
    const text = [
      `The schema breaks clients of the released one, and CHANGELOG.md does not say so under ${version}:`,
      ...linesOf(unnamed, 'breaking'),
      `Undo that; or keep what is there and deprecate it first; or name it in CHANGELOG.md, under ${version}, by a line that begins with "Breaking: ${names}".`,
    ]
    return { isHeld: false, text: text.join('\n') }
  }
  const told = changes.filter(({ level }) => level !== 'safe')
  const held = 'Clients of the released schema are served by the present one, but for what CHANGELOG.md names.'
  return { isHeld: true, text: told.length > 0 ? `${held}\n${describeChanges(told)}` : held }
}

/** The heading of the newest version, and the coordinates that follow upon "Breaking:" beneath it. */
function newestVersion(changelog: string): { version: string; broken: string[] } {
  const [heading = '', ...lines] = (changelog.split(/^## /m)[1] ?? '').split('\n')
  const named = [...lines.join('\n').matchAll(/^(?:[-*] )?Breaking: (`[^`]+`(?:,\s+`[^`]+`)*)/gm)]
  const broken = named.flatMap(([, names]) => [...names!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!))
  return { version: heading.split(' ')[0] || 'the newest version', broken }
}
