import { expect, test } from 'vitest'
import { type CpuProfile, placeOf, spentBetween, sumBy } from './profile.ts'

const frame = (functionName: string, url: string) => ({ functionName, url, lineNumber: 0 })

test.for([
  ['(garbage collector)', '', 'garbage collection'],
  ['(program)', '', 'program (native)'],
  ['writev', 'node:internal/stream_base_commons', 'node internals'],
  ['execute', 'file:///p/node_modules/graphql/execution/execute.js', 'graphql'],
  ['a', 'file:///p/node_modules/@pothos/core/node_modules/@x/y/lib/z.js', '@x/y'],
  ['toContact', 'file:///p/src/domain/contacts.ts', 'src/domain'],
  ['createApp', 'file:///p/src/app.ts', 'src'],
  ['nested', 'file:///p/bench/perf/stacks/floor.ts', 'bench/perf/stacks'],
  ['stringify', '', 'built-in or generated'],
] as const)('%s of "%s" counts for %s', ([functionName, url, place]) => {
  expect(placeOf(frame(functionName, url))).toBe(place)
})

test('only samples within the window count, each until the next one, and nothing that is idle', () => {
  const profile: CpuProfile = {
    nodes: [
      { id: 1, callFrame: frame('work', 'file:///p/src/rest/router.ts') },
      { id: 2, callFrame: frame('(idle)', '') },
      { id: 3, callFrame: frame('parse', 'file:///p/node_modules/graphql/parser.js') },
    ],
    startTime: 1000,
    samples: [1, 1, 2, 3, 1],
    timeDeltas: [10, 20, 30, 40, 50],
  }

  expect(sumBy(spentBetween(profile, 1030, 1150), placeOf)).toEqual([
    { name: 'graphql', self: 50 },
    { name: 'src/rest', self: 30 },
  ])
})
