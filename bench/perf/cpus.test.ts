import { expect, test } from 'vitest'
import { parseCpuList, pinned } from './cpus.ts'

test('lists of CPUs are read as the kernel writes them', () => {
  expect(parseCpuList('0-2,5')).toEqual([0, 1, 2, 5])
  expect(parseCpuList('3')).toEqual([3])
})

test('a command that is not pinned stays as it is', () => {
  expect(pinned(undefined, 'node', ['a'])).toEqual(['node', ['a']])
  expect(pinned('1,2', 'node', ['a'])).toEqual(['taskset', ['--cpu-list', '1,2', 'node', 'a']])
})
