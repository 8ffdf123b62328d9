import {
  type DocumentNode,
  type FragmentDefinitionNode,
  type GraphQLSchema,
  getVariableValues,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  type SelectionSetNode,
} from 'graphql'
import type { GraphQLContext } from './builder.ts'
import { ignore, planOperation, type Run, type Write } from './compile-plan.ts'
import { notPlain, Slot } from './compile-text.ts'

// A compiled operation writes the JSON of its answer while it resolves. It knows success alone: whatever else there is, it
// gives up, and the interpreter executes the document again on the same context and says what is wrong.

/** What answers an operation by itself. */
export interface CompiledOperation {
  /**
   * The JSON of `data`, letter by letter that of graphql; undefined where the interpreter is to answer. The variables are
   * as they were sent. Never rejects.
   */
  run(context: GraphQLContext, variables: Record<string, unknown> | undefined): Promise<string | undefined>
}

/** Each set of values of the conditions has a plan of its own; where there would be more, the interpreter answers. */
const maxPlans = 16

/**
 * Compiles a query, or a mutation, which gives up unless it has one field: several are done one after the other. Undefined
 * for what asks for the schema, or has directives other than `@skip` and `@include`. The document must have been validated.
 */
export function compileOperation(
  schema: GraphQLSchema,
  document: DocumentNode,
  operation: OperationDefinitionNode,
): CompiledOperation | undefined {
  const rootType = schema.getRootType(operation.operation)
  const fragments = fragmentsOf(document)
  const isCompilable = operation.operation !== OperationTypeNode.SUBSCRIPTION
  const conditionNames = isCompilable && conditionsOf(operation, fragments)
  if (!rootType || !conditionNames) return undefined

  const plans = new Map<string, Write>()
  const planFor = (variables: Record<string, unknown>): Write => {
    const key = conditionNames.map((name) => variables[name]).join()
    const known = plans.get(key)
    if (known) return known
    if (plans.size === maxPlans) throw notPlain
    const conditions = Object.fromEntries(conditionNames.map((name) => [name, variables[name]]))
    const plan = planOperation({ schema, fragments, operation, conditions }, rootType)
    plans.set(key, plan)
    return plan
  }
  const definitions = operation.variableDefinitions ?? []
  return {
    run(context, variables) {
      const { coerced } = getVariableValues(schema, definitions, variables ?? {}, { maxErrors: 1 })
      if (!coerced) return Promise.resolve(undefined)
      return new Promise((resolve) => {
        const execution = new Execution(context, coerced, resolve)
        execution.begin((run, slot, root) => planFor(coerced)(run, slot, root))
      })
    },
  }
}

function fragmentsOf({ definitions }: DocumentNode): Record<string, FragmentDefinitionNode> {
  const fragments = Object.create(null)
  for (const definition of definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments[definition.name.value] = definition
  }
  return fragments
}

/** The variables that the conditions of an operation use; undefined where it has what is not compiled. */
function conditionsOf(
  operation: OperationDefinitionNode,
  fragments: Record<string, FragmentDefinitionNode>,
): string[] | undefined {
  const names = new Set<string>()
  // A set grows while it is gone through.
  const seen = new Set<SelectionSetNode>([operation.selectionSet])
  for (const { selections } of seen) {
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD && ['__schema', '__type'].includes(selection.name.value)) return undefined
      for (const { name, arguments: given } of selection.directives ?? []) {
        if (name.value !== 'skip' && name.value !== 'include') return undefined
        for (const { value } of given ?? []) if (value.kind === Kind.VARIABLE) names.add(value.name.value)
      }
      const { selectionSet } = selection.kind === Kind.FRAGMENT_SPREAD ? fragments[selection.name.value]! : selection
      if (selectionSet) seen.add(selectionSet)
    }
  }
  return [...names]
}

/** One run of a query. Resolvers are called as soon as graphql would call them, so that loaders have the same batches. */
class Execution implements Run {
  readonly made: unknown[] = []
  readonly context: unknown
  readonly variables: Record<string, unknown>
  private readonly answer = new Slot()
  /** What is not written yet: the operation as a whole, and the values that come later. */
  private waiting = 1
  private isOver = false
  private readonly settle: (text: string | undefined) => void
  private readonly giveUp = () => this.end(undefined)

  constructor(context: unknown, variables: Record<string, unknown>, settle: (text: string | undefined) => void) {
    this.context = context
    this.variables = variables
    this.settle = settle
  }

  begin(write: Write): void {
    this.go(write, this.answer, undefined)
  }

  later(promise: PromiseLike<unknown>, slot: Slot, write: Write): void {
    const place = slot.reserve()
    this.waiting += 1
    promise.then((value) => this.go(write, place, value), this.giveUp)
  }

  private go(write: Write, place: Slot, value: unknown): void {
    if (this.isOver) ignore(value)
    else {
      try {
        write(this, place, value)
        this.waiting -= 1
        if (this.waiting === 0) this.end(`${this.answer}`)
      } catch {
        this.giveUp()
      }
    }
  }

  private end(text: string | undefined): void {
    this.isOver = true
    this.settle(text)
  }
}
