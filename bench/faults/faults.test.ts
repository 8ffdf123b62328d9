import { expect, it } from 'vitest'
import { runFaults } from './faults.ts'
import { tableOf } from './table.ts'

it('what was acknowledged is there, once and whole, whatever breaks', async () => {
  const said: string[] = []

  const report = await runFaults({ short: true, onProgress: (text) => said.push(text) })

  expect(report.passed, `${tableOf(report)}\n${said.join('\n')}`).toBe(true)
  // The small disk needs root.
  const skipped = report.scenarios.filter(({ verdict }) => verdict !== 'passed').map(({ name }) => name)
  expect(skipped).toEqual(process.getuid?.() === 0 ? [] : ['disk'])
})
