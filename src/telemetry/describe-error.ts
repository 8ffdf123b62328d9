/** What may be logged of an error: a driver's message can hold values of the statement, so only its code is told. */
export function describeError(cause: unknown) {
  if (!(cause instanceof Error)) return { error: { type: typeof cause } }
  const origin = cause.cause instanceof Error ? cause.cause : cause
  const { code } = origin as NodeJS.ErrnoException
  return { error: { type: cause.name, code, ...(code ? {} : { message: cause.message }), stack: framesOf(cause) } }
}

const framesOf = ({ stack = '' }: Error) =>
  stack
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .join('\n')
