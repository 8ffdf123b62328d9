// How Node runs the program: to be imported before anything else, and in plain JavaScript, since all else is loaded by it.
import { enableCompileCache, registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'

// What was compiled is kept for the next start, with the packages: whoever can write there could change those as well. Where
// nobody can, as in an image, nothing is kept.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/compiled', import.meta.url)))

const drizzle = 'drizzle-orm'
const withinDrizzle = `/node_modules/${drizzle}/`
/** @type {Map<string, import('node:module').ResolveFnOutput>} */
const entries = new Map()

// To find out what kind of module a file is, Node parses the package.json of its package, for each file anew. The one of
// Drizzle has 180,000 characters: it took longer than everything else, and more than 100 MB.
registerHooks({
  resolve(specifier, context, next) {
    const { parentURL = '' } = context
    if (specifier.startsWith('.')) {
      if (!specifier.endsWith('.js') || !parentURL.includes(withinDrizzle)) return next(specifier, context)
      return { url: new URL(specifier, parentURL).href, format: 'module', shortCircuit: true }
    }
    if (!specifier.startsWith(drizzle) || parentURL.includes('/node_modules/')) return next(specifier, context)
    const entry = entries.get(specifier) ?? next(specifier, context)
    entries.set(specifier, entry)
    return { ...entry, shortCircuit: true }
  },
})
