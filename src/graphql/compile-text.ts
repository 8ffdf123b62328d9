import {
  GraphQLBoolean,
  GraphQLFloat,
  GraphQLID,
  GraphQLInt,
  type GraphQLLeafType,
  GraphQLString,
  isEnumType,
} from 'graphql'

/** Thrown where the interpreter is to say what is wrong. Nobody reads it, so that one is enough. */
export const notPlain = new Error('not plain success')

/** A piece of the answer. What comes later has a place of its own among the parts. */
export class Slot {
  text = ''
  private parts: (string | Slot)[] | undefined

  /** Leaves a place for what is not known yet. */
  reserve(): Slot {
    const place = new Slot()
    this.parts ??= []
    this.parts.push(this.text, place)
    this.text = ''
    return place
  }

  toString(): string {
    if (!this.parts) return this.text
    let whole = ''
    for (const part of this.parts) whole += part
    return whole + this.text
  }
}

const special = /["\\\u0000-\u001f\ud800-\udfff]/

/** As JSON.stringify does. The test is the faster for texts as short as most of them are. */
export const quote = (text: string): string => (special.test(text) ? JSON.stringify(text) : `"${text}"`)

/** Writes a leaf as JSON, from what a resolver has returned. */
export type LeafText = (value: unknown) => string

/** Each type has its usual values written at once; what else there is goes the way of graphql. */
export function leafText(type: GraphQLLeafType, isNullable: boolean): LeafText {
  const otherwise = (value: unknown): string => {
    if (value === undefined || value === null) {
      if (isNullable) return 'null'
      throw notPlain
    }
    if (value instanceof Error) throw value
    return serializedText(type.serialize(value))
  }
  if (isEnumType(type)) {
    const texts = new Map(type.getValues().map(({ name, value }) => [value, quote(name)]))
    texts.delete(null)
    return (value) => texts.get(value) ?? otherwise(value)
  }
  switch (type) {
    case GraphQLString:
    case GraphQLID:
      return (value) => (typeof value === 'string' ? quote(value) : otherwise(value))
    case GraphQLInt:
      return (value) => (typeof value === 'number' && (value | 0) === value ? `${value}` : otherwise(value))
    case GraphQLFloat:
      return (value) => (Number.isFinite(value) ? `${value}` : otherwise(value))
    case GraphQLBoolean:
      return (value) => (value === true ? 'true' : value === false ? 'false' : otherwise(value))
    default:
      return otherwise
  }
}

function serializedText(serialized: unknown): string {
  if (typeof serialized === 'string') return quote(serialized)
  if (Number.isFinite(serialized)) return `${serialized}`
  // A null is an error of the scalar; what JSON cannot hold is left out of objects, but is null in lists.
  const text = serialized === undefined || serialized === null ? undefined : JSON.stringify(serialized)
  if (text === undefined) throw notPlain
  return text
}
