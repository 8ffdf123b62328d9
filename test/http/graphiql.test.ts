import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Browser, chromium, type Locator } from 'playwright-core'
import { expect, it, onTestFinished, vi } from 'vitest'
import { firstQuery } from '../../src/graphql/handler.ts'
import { useGateways } from '../support/gateway.ts'

vi.setConfig({ testTimeout: 120_000 })

const executablePath = findChromium()
if (!executablePath)
  console.log('The browser test is skipped: there is no Chromium (CHROMIUM, or chromium on the PATH).')

const gateways = useGateways()

it.skipIf(!executablePath)(
  'GraphiQL opens with a query that runs, and asks no other machine for anything',
  async () => {
    const { url } = await gateways.serve({ env: { DATABASE_URL: 'pglite:memory' } })
    const page = await (await startBrowser()).newPage({ viewport: { width: 1400, height: 1000 } })
    const requested: string[] = []
    const faults: string[] = []
    page.on('request', (request) => requested.push(request.url()))
    page.on('websocket', (socket) => requested.push(socket.url()))
    page.on('pageerror', (error) => faults.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error') faults.push(message.text())
    })

    await page.goto(url)
    await eventually(async () => {
      expect(await linesOf(page.locator('.graphiql-query-editor'))).toEqual(firstQuery.split('\n'))
    })
    await page.getByRole('button', { name: 'Execute query' }).click()
    await eventually(async () => {
      const lines = await linesOf(page.locator('.graphiql-response'))
      expect(lines).toContain('          "name": "Best IT",')
      expect(lines).toContain('                "value": "+1 (203) 413 4880",')
    })

    const { origin } = new URL(url)
    const elsewhere = requested.filter((address) => !address.startsWith(`${origin}/`) && !/^(blob|data):/.test(address))
    expect(requested).toContain(url)
    expect(elsewhere).toEqual([])
    expect(faults).toEqual([])
  },
)

/** CHROMIUM, where that is given, or else the one of the system. */
function findChromium(): string | undefined {
  const { CHROMIUM, PATH = '' } = process.env
  const onPath = PATH.split(delimiter).map((folder) => join(folder, 'chromium'))
  return (CHROMIUM ? [CHROMIUM] : ['/usr/bin/chromium', ...onPath]).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

async function startBrowser(): Promise<Browser> {
  const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-quic']
  const browser = await chromium.launch({
    executablePath,
    // Chromium's sandbox refuses to work for root.
    chromiumSandbox: process.getuid?.() !== 0,
    args: ['--disable-gpu', '--no-first-run', ...quiet],
  })
  onTestFinished(() => browser.close())
  return browser
}

const eventually = (expectation: () => Promise<void>) => vi.waitFor(expectation, { timeout: 60_000 })

/** The lines that an editor shows, which stand in the page in any order, with spaces that do not break. */
async function linesOf(pane: Locator): Promise<string[]> {
  const lines = await pane
    .locator('.view-line')
    .evaluateAll((elements) =>
      elements.map((element) => ({ top: element.getBoundingClientRect().top, text: element.textContent ?? '' })),
    )
  return lines.sort((a, b) => a.top - b.top).map(({ text }) => text.replaceAll('\u{a0}', ' '))
}
