/** The JSON object that a text holds; undefined for anything else, also for an object that names a key twice. */
export function parseObject(text: string): Record<string, unknown> | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return hasDuplicateKeys(text) ? undefined : (value as Record<string, unknown>)
}

const token = /"(?:[^"\\]|\\.)*"|[{}[\]:]/g

/** Whether the outermost object of a valid JSON text names a key twice: JSON.parse would silently take the last. */
function hasDuplicateKeys(text: string): boolean {
  const keys = new Set<string>()
  let depth = 0
  let lastString = ''
  for (const [found] of text.matchAll(token)) {
    if (found === '{' || found === '[') depth += 1
    else if (found === '}' || found === ']') depth -= 1
    else if (depth === 1 && found === ':') {
      const key = JSON.parse(lastString)
      if (keys.has(key)) return true
      keys.add(key)
    } else lastString = found
  }
  return false
}
