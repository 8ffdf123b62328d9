import { appendFileSync } from 'node:fs'
import { registerHooks } from 'node:module'

// For `node --import`: writes the addresses of all modules that the process has loaded into the file LOADED_MODULES, when it
// ends.
const loaded: string[] = []
registerHooks({
  load(url, context, next) {
    loaded.push(url)
    return next(url, context)
  },
})
process.on('exit', () => appendFileSync(process.env.LOADED_MODULES!, `${loaded.join('\n')}\n`))
