import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkFile, runHistories, shortOptions } from './histories.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'histories-test-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('what clients are told of contacts', () => {
  it('is explained by an order of their operations, whatever goes wrong', async () => {
    const report = await runHistories({ ...shortOptions, folder })
    expect(report.results.map(({ verdict, report: why }) => why || verdict)).toEqual(Array(3).fill('linearizable'))
    expect(report.surprises).toEqual([])
    for (const { operations } of report.results) expect(operations).toBeGreaterThan(30)
  })

  it('is found wrong when somebody takes contacts away behind the back of the gateway', async () => {
    const options = { seeds: [1], seconds: 3, organizations: 2, only: [], isSabotaged: true, folder }
    const { passed, results } = await runHistories(options)
    expect(passed).toBe(false)
    for (const { verdict, report, file } of results) {
      expect(verdict).toBe('not linearizable')
      expect(await checkFile(file!)).toMatchObject({ verdict, report })
    }
  })
})
