import { execFile, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { useGateways } from './support/gateway.ts'

const run = promisify(execFile)
const gateways = useGateways()
const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

/** Each command of the README with the answer that it shows beneath, in order. */
const shown = [...readme.matchAll(/```sh\n(curl .*?)```\n\n(?:\w[^\n]*\n\n)?```json\n(.*?)```/gs)].map(
  ([, command, answer]) => ({
    command: command!,
    answer: answer!,
  }),
)

const hasCurl = spawnSync('curl', ['--version']).status === 0
if (!hasCurl) console.log('The commands of the README are not tried: there is no curl.')

describe.skipIf(!hasCurl)('the commands of the README', () => {
  it('answer what it shows, one after the other, from an empty folder', async () => {
    const { url } = await gateways.serve()
    const answers: unknown[] = []
    for (const { command } of shown) {
      const { stdout } = await run('sh', ['-c', command.replaceAll('http://127.0.0.1:4000', new URL(url).origin)])
      answers.push(JSON.parse(stdout))
    }

    expect(shown.length).toBeGreaterThanOrEqual(8)
    expect(answers).toEqual(shown.map(({ answer }) => JSON.parse(answer)))
  })
})
