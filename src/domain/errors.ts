/** What is wrong with one part of an input. Doors show all issues of an input at once. */
export interface Issue {
  /** Where: the keys from the input's root, e.g. `['contact', 'telephone', 'value']`. */
  path: string[]
  code: IssueCode
  /** One sentence that names the field, the limit and the actual value. */
  message: string
}

export const issueCodes = {
  REQUIRED: 'A value is missing, or null where one is needed.',
  BLANK: 'A text holds nothing that can be seen.',
  INVALID_TYPE: 'A value is of another type than the field takes.',
  INVALID_ID: 'Not an id: neither a global id of the right type nor a positive integer below 2^53.',
  INVALID_CURSOR: 'Not a cursor of this list in this order.',
  INVALID_CHARACTER: 'A text holds a control character or half of a surrogate pair.',
  INVALID_FORMAT: 'A text cannot be what its field holds, e.g. an e-mail address without @.',
  TOO_LONG: 'A text has more code points than allowed.',
  OUT_OF_RANGE: 'A number is below or above what is allowed.',
  TOO_MANY: 'A list has more items than allowed.',
  NOT_ALLOWED: 'The value exists, but not here: a label that the channel does not have.',
  ONE_CHANNEL: 'Exactly one channel must be given.',
  CHANNEL_FIXED: 'The contact is of another channel, and a channel never changes.',
  EXCLUSIVE: 'Two values were given that exclude each other.',
  DUPLICATE: 'The same object is named twice.',
  TAKEN: 'Another object has this name already.',
  CYCLE: 'An organization cannot be beneath itself or one of its descendants.',
} as const

export type IssueCode = keyof typeof issueCodes

/** Something that the caller can act on. Everything else that is thrown is a bug or an outage. */
export abstract class DomainError extends Error {}

export class ValidationError extends DomainError {
  readonly issues: readonly Issue[]
  constructor(issues: readonly Issue[]) {
    super(issues.map((issue) => issue.message).join(' '))
    this.name = 'ValidationError'
    this.issues = issues
  }
}

/** The caller is known, but may not do this. It is no DomainError: a program meets it when it is set up wrongly. */
export class ForbiddenError extends Error {
  constructor(needed: string) {
    super(`This needs the permission ${needed}.`)
    this.name = 'ForbiddenError'
  }
}

export type ObjectKind = 'Organization' | 'Contact'

/** There is no such object in the caller's account. What other accounts hold makes no difference. */
export class NotFoundError extends DomainError {
  readonly kind: ObjectKind
  readonly path: string[]
  constructor(kind: ObjectKind, path: string[]) {
    super(`${kind} not found.`)
    this.name = 'NotFoundError'
    this.kind = kind
    this.path = path
  }
}

/** The object has moved on since the caller read it. */
export class ConflictError extends DomainError {
  readonly path: string[]
  readonly currentVersion: number
  /** Several versions, or none, may have been good enough. */
  constructor(path: string[], expected: number | readonly number[], currentVersion: number) {
    const named = [expected].flat().join(' or ') || 'one that was expected'
    super(`The contact is at version ${currentVersion}, not ${named}: read it again before changing it.`)
    this.name = 'ConflictError'
    this.path = path
    this.currentVersion = currentVersion
  }
}

/** The key of a write was used before, for another one. */
export class KeyReusedError extends DomainError {
  constructor() {
    super('The key was used for another request: repeat that one exactly, or take another key.')
    this.name = 'KeyReusedError'
  }
}
