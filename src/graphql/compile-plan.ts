import {
  defaultTypeResolver,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLAbstractType,
  type GraphQLField,
  type GraphQLFieldResolver,
  GraphQLIncludeDirective,
  type GraphQLObjectType,
  type GraphQLOutputType,
  type GraphQLResolveInfo,
  type GraphQLSchema,
  GraphQLSkipDirective,
  getArgumentValues,
  getDirectiveValues,
  type InlineFragmentNode,
  isAbstractType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  type ResponsePath,
  type SelectionNode,
  type SelectionSetNode,
  TypeNameMetaFieldDef,
  type ValueNode,
} from 'graphql'
import { type LeafText, leafText, notPlain, quote, type Slot } from './compile-text.ts'

type Values = Record<string, unknown>

/** One execution, as plans see it. Everything that belongs to a request is here and nowhere else. */
export interface Run {
  readonly context: unknown
  readonly variables: Values
  /** What depends on the variables, by the place that the plan has for it. */
  readonly made: unknown[]
  /** Goes on with the value once it is there. */
  later(promise: PromiseLike<unknown>, slot: Slot, write: Write): void
}

/** Writes a value that a resolver has returned; throws where it is no plain success. */
export type Write = (run: Run, slot: Slot, value: unknown) => void

/** What plans are made from. The same for all executions of an operation whose conditions have the same values. */
export interface Subject {
  readonly schema: GraphQLSchema
  readonly fragments: Readonly<Record<string, FragmentDefinitionNode>>
  readonly operation: OperationDefinitionNode
  /** The variables that `@skip` and `@include` use. */
  readonly conditions: Values
}

interface FieldPlan {
  /** What comes before the value: fields that are always the same, and the key. */
  readonly lead: string
  readonly resolve: GraphQLFieldResolver<unknown, unknown>
  readonly argsOf: Source<Values>
  /** Undefined for a resolver that takes no info. */
  readonly infoOf: Source<GraphQLResolveInfo> | undefined
  /** Only of leaves, which need no slot. */
  readonly text: LeafText | undefined
  readonly write: Write
}

/** What is the same for every execution, or else made once for each, when it is first asked for. */
interface Source<Value> {
  readonly always: Value | undefined
  readonly place: number
  make(run: Run): Value
}

interface ObjectPlan {
  readonly fields: readonly FieldPlan[]
  readonly end: string
}

export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return (
    ((typeof value === 'object' && value !== null) || typeof value === 'function') &&
    typeof (value as PromiseLike<unknown>).then === 'function'
  )
}

const ignored = () => {}

/** Nobody waits for it any more; if it fails, that must not end the process. */
export function ignore(value: unknown): void {
  if (isPromise(value)) value.then(ignored, ignored)
  else if (Array.isArray(value)) value.forEach(ignore)
}

/** Makes the plan of an operation. What is beneath a field is planned when it is first reached. */
export function planOperation(subject: Subject, rootType: GraphQLObjectType): Write {
  const { schema, fragments, operation } = subject
  const hasVariables = (operation.variableDefinitions?.length ?? 0) > 0
  const knownArgs = new Map<FieldNode, Map<GraphQLField<unknown, unknown>, Source<Values>>>()
  let places = 0

  const planObject = (
    type: GraphQLObjectType,
    sets: readonly SelectionSetNode[],
    path: ResponsePath | undefined,
  ): ObjectPlan => {
    const fields: FieldPlan[] = []
    let lead = '{'
    let separator = ''
    for (const [key, nodes] of collectFields(subject, type, sets)) {
      lead += `${separator}${quote(key)}:`
      separator = ','
      const name = nodes[0]!.name.value
      if (name === TypeNameMetaFieldDef.name) {
        lead += quote(type.name)
      } else {
        const field = type.getFields()[name]
        if (!field) throw notPlain
        fields.push(planField(type, field, nodes, { prev: path, key, typename: type.name }, lead))
        lead = ''
      }
    }
    return { fields, end: `${lead}}` }
  }

  const planField = (
    parentType: GraphQLObjectType,
    field: GraphQLField<unknown, unknown>,
    nodes: readonly FieldNode[],
    path: ResponsePath,
    lead: string,
  ): FieldPlan => {
    const infoOf = planInfo(parentType, field, nodes, path)
    const sets = nodes.flatMap(({ selectionSet }) => selectionSet ?? [])
    const resolve = field.resolve ?? readProperty(field.name)
    // One that names no parameter may take them all.
    const takesInfo = resolve.length === 0 || resolve.length >= 4
    return {
      lead,
      resolve,
      argsOf: planArgs(field, nodes[0]!),
      infoOf: takesInfo ? infoOf : undefined,
      text: textOf(field.type),
      write: writeType(field.type, { sets, path, infoOf }),
    }
  }

  /** The positions in lists are not in the path: nothing here asks for them, and the info is the same for all items. */
  const planInfo = (
    parentType: GraphQLObjectType,
    field: GraphQLField<unknown, unknown>,
    fieldNodes: readonly FieldNode[],
    path: ResponsePath,
  ): Source<GraphQLResolveInfo> => {
    const { name: fieldName, type: returnType } = field
    const same = {
      fieldName,
      fieldNodes,
      returnType,
      parentType,
      path,
      schema,
      fragments,
      rootValue: undefined,
      operation,
    }
    return {
      always: hasVariables ? undefined : { ...same, variableValues: {} },
      place: places++,
      make: ({ variables }) => ({ ...same, variableValues: variables }),
    }
  }

  /** All calls of one field of the document get the same object. */
  const planArgs = (field: GraphQLField<unknown, unknown>, node: FieldNode): Source<Values> => {
    let ofNode = knownArgs.get(node)
    if (!ofNode) {
      ofNode = new Map()
      knownArgs.set(node, ofNode)
    }
    const known = ofNode.get(field)
    if (known) return known
    const usesVariables = node.arguments?.some(({ value }) => hasVariable(value)) ?? false
    const args: Source<Values> = {
      always: usesVariables ? undefined : deeplyFrozen(getArgumentValues(field, node, {})),
      place: places++,
      make: ({ variables }) => getArgumentValues(field, node, variables),
    }
    ofNode.set(field, args)
    return args
  }

  /** The field that a value is of, for what is beneath it. */
  interface Position {
    readonly sets: readonly SelectionSetNode[]
    readonly path: ResponsePath
    readonly infoOf: Source<GraphQLResolveInfo>
  }

  const writeType = (type: GraphQLOutputType, position: Position): Write => {
    const text = textOf(type)
    if (text) {
      return (_run, slot, value) => {
        slot.text += text(value)
      }
    }
    const isNullable = !isNonNullType(type)
    const write = writePresent(isNullable ? type : type.ofType, position)
    return (run, slot, value) => {
      if (value === undefined || value === null) {
        if (!isNullable) throw notPlain
        slot.text += 'null'
      } else if (value instanceof Error) {
        throw value
      } else {
        write(run, slot, value)
      }
    }
  }

  const writePresent = (type: GraphQLOutputType, position: Position): Write => {
    if (isListType(type)) return writeList(writeType(type.ofType, position))
    if (isAbstractType(type)) return writeAbstract(type, position)
    return writeObject(type as GraphQLObjectType, position)
  }

  const writeAbstract = (type: GraphQLAbstractType, position: Position): Write => {
    const writes = new Map<unknown, Write>()
    const resolveType = type.resolveType ?? defaultTypeResolver
    const writeMember = (name: unknown): Write => {
      ignore(name)
      const member = typeof name === 'string' ? schema.getType(name) : undefined
      if (!isObjectType(member) || !schema.isSubType(type, member)) throw notPlain
      const write = writeObject(member, position)
      writes.set(name, write)
      return write
    }
    return (run, slot, value) => {
      const name = resolveType(value, run.context, valueFor(run, position.infoOf), type)
      const write = writes.get(name) ?? writeMember(name)
      write(run, slot, value)
    }
  }

  const writeObject = (type: GraphQLObjectType, { sets, path, infoOf }: Position): Write => {
    let plan: ObjectPlan | undefined
    const { isTypeOf } = type
    return (run, slot, value) => {
      if (isTypeOf) {
        const isOfType = isTypeOf(value, run.context, valueFor(run, infoOf))
        ignore(isOfType)
        if (!isOfType || isPromise(isOfType)) throw notPlain
      }
      plan ??= planObject(type, sets, path)
      writeFields(plan, run, slot, value)
    }
  }

  const root = planObject(rootType, [operation.selectionSet], undefined)
  if (operation.operation === OperationTypeNode.MUTATION && root.fields.length > 1) throw notPlain
  return (run, slot, value) => writeFields(root, run, slot, value)
}

const valueFor = <Value>(run: Run, source: Source<Value>): Value =>
  source.always ?? (run.made[source.place] as Value | undefined) ?? makeFor(run, source)

function makeFor<Value>(run: Run, source: Source<Value>): Value {
  const made = source.make(run)
  run.made[source.place] = made
  return made
}

const noInfo = undefined as never

function writeFields({ fields, end }: ObjectPlan, run: Run, slot: Slot, source: unknown): void {
  const { context } = run
  let written = slot.text
  for (const { lead, resolve, argsOf, infoOf, text, write } of fields) {
    const value = resolve(source, valueFor(run, argsOf), context, infoOf ? valueFor(run, infoOf) : noInfo)
    const isLater = isPromise(value)
    if (text && !isLater) {
      written += lead + text(value)
    } else {
      slot.text = written + lead
      if (isLater) run.later(value, slot, write)
      else write(run, slot, value)
      written = slot.text
    }
  }
  slot.text = written + end
}

const writeList =
  (writeItem: Write): Write =>
  (run, slot, value) => {
    const items = itemsOf(value)
    let at = 0
    try {
      slot.text += '['
      for (; at < items.length; at += 1) {
        const item = items[at]
        if (at > 0) slot.text += ','
        if (isPromise(item)) run.later(item, slot, writeItem)
        else writeItem(run, slot, item)
      }
      slot.text += ']'
    } catch (error) {
      ignore(items.slice(at))
      throw error
    }
  }

function itemsOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value
  if (typeof value !== 'object' || value === null || !(Symbol.iterator in value)) throw notPlain
  return Array.from(value as Iterable<unknown>)
}

/** As the default resolver of graphql, for a name that is known. */
const readProperty =
  (name: string): GraphQLFieldResolver<unknown, unknown> =>
  (source, args, context, info) => {
    if ((typeof source !== 'object' || source === null) && typeof source !== 'function') return undefined
    const property = (source as Values)[name]
    return typeof property === 'function' ? property.call(source, args, context, info) : property
  }

/** The fields of an object by their keys in the answer, in order. Fields of the same key are merged. */
function collectFields(
  { schema, fragments, conditions }: Subject,
  type: GraphQLObjectType,
  sets: readonly SelectionSetNode[],
): Map<string, FieldNode[]> {
  const fields = new Map<string, FieldNode[]>()
  const spread = new Set<string>()
  const collectFragment = ({ typeCondition, selectionSet }: FragmentDefinitionNode | InlineFragmentNode) => {
    const condition = typeCondition ? schema.getType(typeCondition.name.value) : type
    if (condition === type || (isAbstractType(condition) && schema.isSubType(condition, type))) collect(selectionSet)
  }
  const collect = ({ selections }: SelectionSetNode) => {
    for (const selection of selections) {
      const isSpread = selection.kind === Kind.FRAGMENT_SPREAD
      if ((isSpread && spread.has(selection.name.value)) || !isIncluded(selection, conditions)) continue
      if (selection.kind === Kind.FIELD) {
        const key = selection.alias?.value ?? selection.name.value
        const nodes = fields.get(key)
        if (nodes) nodes.push(selection)
        else fields.set(key, [selection])
      } else if (isSpread) {
        spread.add(selection.name.value)
        collectFragment(fragments[selection.name.value]!)
      } else {
        collectFragment(selection)
      }
    }
  }
  sets.forEach(collect)
  return fields
}

function isIncluded(node: SelectionNode, conditions: Values): boolean {
  if (!node.directives?.length) return true
  if (getDirectiveValues(GraphQLSkipDirective, node, conditions)?.if === true) return false
  return getDirectiveValues(GraphQLIncludeDirective, node, conditions)?.if !== false
}

/** The JSON of a type that is a leaf, null or not. */
function textOf(type: GraphQLOutputType): LeafText | undefined {
  const present = isNonNullType(type) ? type.ofType : type
  return isLeafType(present) ? leafText(present, present === type) : undefined
}

function hasVariable(value: ValueNode): boolean {
  if (value.kind === Kind.LIST) return value.values.some(hasVariable)
  if (value.kind === Kind.OBJECT) return value.fields.some((field) => hasVariable(field.value))
  return value.kind === Kind.VARIABLE
}

/** Arguments that all requests share must not be changed by one of them. */
function deeplyFrozen<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null) return value
  Object.values(value).forEach(deeplyFrozen)
  return Object.freeze(value)
}
