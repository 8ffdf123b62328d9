// Serves, and starts again whenever a file of `src` changes. Folders are watched rather than files, so that editors which
// replace a file when they save it are noticed, too.
import { spawn } from 'node:child_process'
import { watch } from 'node:fs'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('gateway.js', import.meta.url))
const source = fileURLToPath(new URL('../src', import.meta.url))
const quietMs = 100

let isStopping = false
let isChanged = false
/** @type {NodeJS.Timeout | undefined} */
let timer

function start() {
  isChanged = false
  const child = spawn(process.execPath, [program, 'serve'], { stdio: 'inherit' })
  child.once('exit', (code) => {
    gateway = undefined
    if (isStopping) process.exit(code ?? 0)
    if (isChanged) gateway = start()
    else console.log('The gateway has ended; it starts again on the next change.')
  })
  return child
}

/** @type {ReturnType<typeof start> | undefined} */
let gateway = start()

watch(source, { recursive: true }, () => {
  clearTimeout(timer)
  timer = setTimeout(() => {
    isChanged = true
    if (gateway) gateway.kill('SIGTERM')
    else gateway = start()
  }, quietMs)
})

for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  process.on(signal, () => {
    isStopping = true
    if (gateway) gateway.kill(signal)
    else process.exit(0)
  })
}
