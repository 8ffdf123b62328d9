import { execFile, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
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

/** The commands under a heading, each block as one text. */
const commandsUnder = (heading: string) => {
  const section = readme.split(`\n## ${heading}\n`)[1]!.split('\n## ')[0]!
  return [...section.matchAll(/```sh\n(.*?)```/gs)].map(([, command]) => command!)
}

/** The arguments of the gateway's command in a block, with paths from the root of the project. */
const argumentsIn = (block: string) =>
  /gateway -- (.*)/
    .exec(block)![1]!
    .split(' ')
    .map((word) => (word.startsWith('docs/') ? fileURLToPath(new URL(`../${word}`, import.meta.url)) : word))

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

describe.skipIf(!hasCurl)('your own data', () => {
  const [fromFiles, fromServer, query] = commandsUnder('Your own data')
  const firstQuery = async (cwd: string) => {
    const { url, gateway } = await gateways.serve({ cwd })
    const { stdout } = await run('sh', ['-c', query!.replace('http://127.0.0.1:4000', new URL(url).origin)])
    await gateway.stop()
    return JSON.parse(stdout)
  }
  const answer = {
    data: {
      organizations: {
        nodes: [
          {
            name: 'Harbor Freight Lines, Inc.',
            children: {
              nodes: [
                { name: 'Harbor Freight Lines, Old Depot', contacts: { nodes: [] } },
                {
                  name: 'Harbor Freight Lines, Service Desk',
                  contacts: {
                    nodes: [
                      { label: 'SERVICE_DESK', value: '+1 (212) 555 0148' },
                      { label: 'SERVICE_DESK', value: 'support.harbor.example' },
                    ],
                  },
                },
              ],
            },
          },
        ],
      },
    },
  }

  it("is there after the commands of the README, from the vendor's files to the first query", async () => {
    const cwd = await gateways.folder()

    const imported = await gateways.run(argumentsIn(fromFiles!), { cwd })

    expect(imported.code).toBe(0)
    expect(await firstQuery(cwd)).toEqual(answer)
  })

  it('is there after the commands of the README, from a REST API with a token to the first query', async () => {
    const env = { AUTH: 'token', DATABASE_URL: 'pglite:source' }
    const [cwd, sourceCwd] = [await gateways.folder(), await gateways.folder()]
    const source = { cwd: sourceCwd, env }
    await gateways.run([...argumentsIn(fromFiles!), '--account', 'wdc'], source)
    const permissions = ['organizations:read', 'contacts:read']
    const created = ['token', 'create', 'pull', '--account', 'wdc', '--permission', ...permissions]
    const token = (await gateways.run(created, source)).stdout.trim()
    const { url } = await gateways.serve(source)
    const command = argumentsIn(fromServer!).map((word) => word.replace('https://api.example.com', new URL(url).origin))

    const pulled = await gateways.run(command, { cwd, env: { PULL_TOKEN: token } })

    expect(pulled.code).toBe(0)
    expect(pulled.stdout + pulled.stderr).not.toContain(token)
    expect(await firstQuery(cwd)).toEqual(answer)
  })
})
