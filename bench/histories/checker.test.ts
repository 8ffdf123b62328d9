import { describe, expect, it } from 'vitest'
import { randomFrom } from '../../test/support/random-document.ts'
import { isLinearizable } from './brute-force.ts'
import { checkHistory, type Operation } from './checker.ts'
import {
  type Answer,
  add,
  type Call,
  type Contact,
  changeSeveral,
  type NewContact,
  remove,
  type Update,
  update as updateOf,
} from './model.ts'
import { simulate } from './simulate.ts'
import { mixUp, spoil, spoilers } from './spoil.ts'

const email = (value: string, more: Partial<NewContact> = {}): NewContact => ({
  channel: 'email',
  label: 'general',
  value,
  integration: false,
  ...more,
})
const contact = (id: number, value: string, version = 1, more: Partial<NewContact> = {}): Contact => ({
  ...email(value, more),
  id,
  version,
})

const update = (id: number, change: Update['change'], ifVersion?: number) =>
  updateOf({ id, channel: 'email' }, change, ifVersion)

const list: Call = { kind: 'list' }
const clear: Call = { kind: 'clear' }

const changed = (parts: Partial<Extract<Answer, { kind: 'changed' }>>): Answer => ({
  kind: 'changed',
  added: [],
  updated: [],
  removedIds: [],
  ...parts,
})
const added = (...contacts: Contact[]) => changed({ added: contacts })
const updated = (...contacts: Contact[]) => changed({ updated: contacts })
const removed = (...removedIds: number[]) => changed({ removedIds })
const cleared = (...ids: number[]): Answer => ({ kind: 'cleared', ids })
const listed = (...contacts: Contact[]): Answer => ({ kind: 'listed', contacts })
const notFound = (list: 'update' | 'remove' = 'update', position = 0): Answer => ({ kind: 'notFound', list, position })
const conflict = (currentVersion: number, list: 'update' | 'remove' = 'update', position = 0): Answer => ({
  kind: 'conflict',
  list,
  position,
  currentVersion,
})

/** An operation from one time to another. */
const during = (invoked: number, completed: number, call: Call, answer: Answer): Operation => ({
  client: 1,
  invoked,
  completed,
  call,
  answer,
})
/** One whose outcome nobody knows. */
const lost = (invoked: number, call: Call): Operation => ({ client: 2, invoked, completed: null, call, answer: null })

/** One after the other, at 0–1, 2–3 and so on. */
const sequence = (...pairs: [Call, Answer][]): Operation[] =>
  pairs.map(([call, answer], i) => during(2 * i, 2 * i + 1, call, answer))

const verdictOf = (operations: Operation[]) => checkHistory(operations).verdict
const right = 'linearizable'
const wrong = 'not linearizable'

const a1 = contact(1, 'a@x')
const b2 = contact(2, 'b@x')
const addA: [Call, Answer] = [add(email('a@x')), added(a1)]
const addB: [Call, Answer] = [add(email('b@x')), added(b2)]

describe('a history without overlaps', () => {
  it('may be empty', () => {
    expect(verdictOf([])).toBe(right)
    expect(verdictOf([lost(0, clear), lost(0, list)])).toBe(right)
  })

  it('is right when every answer is what the one before it left', () => {
    const renamed = contact(1, 'c@x', 2)
    const history = sequence(
      [list, listed()],
      addA,
      addB,
      [list, listed(a1, b2)],
      [update(1, { value: 'c@x' }, 1), updated(renamed)],
      [update(1, { value: 'c@x' }), updated(renamed)],
      [update(1, { value: 'd@x' }, 1), conflict(2)],
      [update(9, { value: 'd@x' }), notFound()],
      [list, listed(renamed, b2)],
      [changeSeveral({ add: [email('e@x')], remove: [{ id: 2, ifVersion: 2 }] }), conflict(1, 'remove')],
      [
        changeSeveral({
          add: [email('f@x')],
          update: [{ id: 1, channel: 'email', change: { label: 'service_desk' } }],
          remove: [{ id: 2 }],
        }),
        changed({
          added: [contact(3, 'f@x')],
          updated: [contact(1, 'c@x', 3, { label: 'service_desk' })],
          removedIds: [2],
        }),
      ],
      [remove(2), notFound('remove')],
      [list, listed(contact(3, 'f@x'), contact(1, 'c@x', 3, { label: 'service_desk' }))],
      [clear, cleared(3, 1)],
      [clear, cleared()],
      [list, listed()],
    )
    expect(checkHistory(history)).toMatchObject({ verdict: right, report: '', order: history.map((_, i) => i) })
  })

  it('may tell any fault of several, as long as it is true', () => {
    const change = changeSeveral({
      update: [{ id: 1, channel: 'email', change: {}, ifVersion: 7 }],
      remove: [{ id: 9 }],
    })
    expect(verdictOf(sequence(addA, [change, conflict(1)]))).toBe(right)
    expect(verdictOf(sequence(addA, [change, notFound('remove')]))).toBe(right)
    expect(verdictOf(sequence(addA, [change, notFound('update')]))).toBe(wrong)
  })

  it.each<[string, Operation[]]>([
    ['a lost add', sequence(addA, addB, [list, listed(b2)])],
    ['a list that is stale after a write was acknowledged', sequence(addA, [list, listed()])],
    [
      'a list that shows a contact as it was',
      sequence(addA, [update(1, { value: 'b@x' }), updated(contact(1, 'b@x', 2))], [list, listed(a1)]),
    ],
    ['an add that was done twice', sequence(addA, [list, listed(a1, contact(2, 'a@x'))])],
    ['two adds that got the same id', sequence(addA, [add(email('b@x')), added(contact(1, 'b@x'))])],
    [
      'an id that is given again',
      sequence(addA, [remove(1), removed(1)], [add(email('b@x')), added(contact(1, 'b@x'))]),
    ],
    [
      'half of several changes',
      sequence(
        addA,
        [changeSeveral({ add: [email('b@x')], remove: [{ id: 1 }] }), changed({ added: [b2], removedIds: [1] })],
        [list, listed(a1, b2)],
      ),
    ],
    [
      'a part of several changes that were refused',
      sequence(
        addA,
        [changeSeveral({ add: [email('b@x')], remove: [{ id: 1, ifVersion: 2 }] }), conflict(1, 'remove')],
        [list, listed(a1, b2)],
      ),
    ],
    ['a clear that leaves one behind', sequence(addA, addB, [clear, cleared(1, 2)], [list, listed(b2)])],
    ['a clear that conceals one', sequence(addA, addB, [clear, cleared(1)])],
    ['a clear that returns a wrong id', sequence(addA, addB, [clear, cleared(1, 3)])],
    ['a clear that returns an id too many', sequence(addA, [clear, cleared(1, 2)])],
    ['a clear in another order', sequence(addA, addB, [clear, cleared(2, 1)])],
    [
      'a stale version that is taken',
      sequence(
        addA,
        [update(1, { value: 'b@x' }, 1), updated(contact(1, 'b@x', 2))],
        [update(1, { value: 'c@x' }, 1), updated(contact(1, 'c@x', 3))],
      ),
    ],
    [
      'a removal that takes a stale version',
      sequence(addA, [update(1, { value: 'b@x' }), updated(contact(1, 'b@x', 2))], [remove(1, 1), removed(1)]),
    ],
    [
      'a version that goes back',
      sequence(
        addA,
        [update(1, { value: 'b@x' }), updated(contact(1, 'b@x', 2))],
        [update(1, { value: 'c@x' }), updated(contact(1, 'c@x', 1))],
      ),
    ],
    [
      'a version that stays although something changed',
      sequence(addA, [update(1, { value: 'b@x' }), updated(contact(1, 'b@x', 1))]),
    ],
    ['a version that goes up although nothing changed', sequence(addA, [update(1, {}), updated(contact(1, 'a@x', 2))])],
    ['a conflict that tells another version', sequence(addA, [update(1, {}, 2), conflict(3)])],
    ['a conflict without reason', sequence(addA, [update(1, {}, 1), conflict(1)])],
    ['a contact that is said to be missing', sequence(addA, [update(1, { value: 'b@x' }), notFound()])],
    ['a removed contact that returns', sequence(addA, [remove(1), removed(1)], [list, listed(a1)])],
    ['a removed contact that is changed', sequence(addA, [remove(1), removed(1)], [update(1, {}), updated(a1)])],
    [
      'a list in the order of ids alone',
      sequence(
        [add(email('a@x', { label: 'service_desk' })), added(contact(1, 'a@x', 1, { label: 'service_desk' }))],
        addB,
        [list, listed(contact(1, 'a@x', 1, { label: 'service_desk' }), b2)],
      ),
    ],
    ['a list that goes down', sequence(addA, addB, [list, listed(b2, a1)])],
    ['a list that shows one twice', sequence(addA, addB, [list, listed(a1, a1)])],
    ['an answer to something else', sequence(addA, [list, cleared(1)])],
  ])('is wrong with %s', (_what, history) => {
    expect(verdictOf(history)).toBe(wrong)
  })
})

describe('a history with overlaps', () => {
  it('is right when some order explains it', () => {
    expect(verdictOf([during(0, 10, ...addA), during(1, 2, list, listed()), during(3, 4, list, listed(a1))])).toBe(
      right,
    )
    expect(verdictOf([during(0, 10, ...addA), during(1, 9, list, listed(a1)), during(1, 9, list, listed())])).toBe(
      right,
    )
    expect(verdictOf([during(0, 10, ...addA), during(0, 10, ...addB), during(0, 10, clear, cleared(2))])).toBe(right)
  })

  it('takes what ends at the moment when another begins for an overlap', () => {
    expect(verdictOf([during(0, 1, ...addA), during(1, 2, list, listed())])).toBe(right)
  })

  it('is wrong when two lists see two adds in another order', () => {
    const adds = [during(0, 10, ...addA), during(0, 10, ...addB)]
    expect(verdictOf([...adds, during(1, 9, list, listed(a1)), during(1, 9, list, listed(b2))])).toBe(wrong)
  })

  it('is wrong when a list goes back behind what another has seen', () => {
    expect(verdictOf([during(0, 10, ...addA), during(1, 2, list, listed(a1)), during(3, 4, list, listed())])).toBe(
      wrong,
    )
  })

  it('is wrong when two updates are taken for one version', () => {
    const updateTo = (value: string, version: number) =>
      during(2, 9, update(1, { value }, 1), updated(contact(1, value, version)))
    expect(verdictOf([during(0, 1, ...addA), updateTo('b@x', 2), updateTo('c@x', 2)])).toBe(wrong)
    expect(verdictOf([during(0, 1, ...addA), updateTo('b@x', 2), updateTo('c@x', 3)])).toBe(wrong)
  })

  it('is wrong when half of several changes is seen on the way', () => {
    const several = during(
      2,
      9,
      changeSeveral({ add: [email('b@x'), email('c@x')], remove: [{ id: 1 }] }),
      changed({ added: [b2, contact(3, 'c@x')], removedIds: [1] }),
    )
    const seen = (...contacts: Contact[]) => [during(0, 1, ...addA), several, during(3, 4, list, listed(...contacts))]
    expect(verdictOf(seen(a1))).toBe(right)
    expect(verdictOf(seen(b2, contact(3, 'c@x')))).toBe(right)
    expect(verdictOf(seen(b2))).toBe(wrong)
    expect(verdictOf(seen(a1, b2, contact(3, 'c@x')))).toBe(wrong)
    expect(verdictOf(seen())).toBe(wrong)
  })

  it('is wrong when a clear goes around what was there all the time', () => {
    expect(verdictOf([during(0, 1, ...addA), during(2, 9, ...addB), during(2, 9, clear, cleared(2))])).toBe(wrong)
  })
})

describe('an operation whose outcome is unknown', () => {
  const lostAdd = lost(0, add(email('a@x')))

  it('may have taken effect', () => {
    expect(verdictOf([lostAdd, during(1, 2, list, listed(a1)), during(3, 4, list, listed(a1))])).toBe(right)
    expect(verdictOf([lostAdd, during(1, 2, list, listed(a1)), during(3, 4, remove(1), removed(1))])).toBe(right)
  })

  it('may have taken none', () => {
    expect(verdictOf([lostAdd, during(1, 2, list, listed()), during(3, 4, clear, cleared())])).toBe(right)
  })

  it('may take effect long after', () => {
    const lists = Array.from({ length: 50 }, (_, i) => during(2 * i + 1, 2 * i + 2, list, listed()))
    expect(verdictOf([lostAdd, ...lists, during(200, 201, list, listed(a1))])).toBe(right)
  })

  it('may be seen by nobody but a clear', () => {
    expect(verdictOf([lostAdd, during(1, 2, clear, cleared(7)), during(3, 4, list, listed())])).toBe(right)
    expect(verdictOf([lostAdd, during(1, 2, clear, cleared(7)), during(3, 4, clear, cleared(8))])).toBe(wrong)
    expect(verdictOf([lostAdd, during(1, 2, clear, cleared(7, 8))])).toBe(wrong)
    const another = lost(0, add(email('b@x')))
    expect(verdictOf([lostAdd, another, during(1, 2, clear, cleared(7)), during(3, 4, clear, cleared(8))])).toBe(right)
    expect(verdictOf([lostAdd, another, during(1, 2, clear, cleared(7)), during(3, 4, clear, cleared(7))])).toBe(wrong)
  })

  it('has its place among what a clear returns', () => {
    const telephone: NewContact = { channel: 'telephone', label: 'fax', value: '+1', integration: false }
    const history = (...ids: number[]) => [
      during(0, 1, ...addA),
      lost(2, add(telephone)),
      during(3, 4, clear, cleared(...ids)),
    ]
    expect(verdictOf(history(7, 1))).toBe(right)
    expect(verdictOf(history(1, 7))).toBe(wrong)
  })

  it('does not take effect before it begins', () => {
    expect(verdictOf([during(0, 1, list, listed(a1)), lost(2, add(email('a@x')))])).toBe(wrong)
  })

  it('does not take effect twice', () => {
    const before = [lostAdd, during(1, 2, list, listed(a1)), during(3, 4, clear, cleared(1))]
    expect(verdictOf(before)).toBe(right)
    expect(verdictOf([...before, during(5, 6, list, listed(a1))])).toBe(wrong)
    expect(verdictOf([...before, during(5, 6, list, listed(contact(2, 'a@x')))])).toBe(wrong)
    expect(verdictOf([lostAdd, during(1, 2, list, listed(a1, contact(2, 'a@x')))])).toBe(wrong)
  })

  it('takes effect as a whole or not at all', () => {
    const both = lost(0, changeSeveral({ add: [email('a@x'), email('b@x')] }))
    expect(verdictOf([both, during(1, 2, list, listed(a1, b2))])).toBe(right)
    expect(verdictOf([both, during(1, 2, list, listed(a1))])).toBe(wrong)
    expect(verdictOf([both, during(1, 2, clear, cleared(8, 9))])).toBe(right)
    expect(verdictOf([both, during(1, 2, clear, cleared(8))])).toBe(wrong)
  })

  it('is told by the version that it leaves', () => {
    const before = [during(0, 1, ...addA), lost(2, update(1, { value: 'b@x' }, 1))]
    expect(verdictOf([...before, during(3, 4, update(1, { value: 'c@x' }, 1), conflict(2))])).toBe(right)
    expect(verdictOf([...before, during(3, 4, update(1, { value: 'c@x' }, 1), updated(contact(1, 'c@x', 2)))])).toBe(
      right,
    )
    expect(verdictOf([...before, during(3, 4, update(1, { value: 'c@x' }), updated(contact(1, 'c@x', 3)))])).toBe(right)
    expect(verdictOf([...before, during(3, 4, update(1, { value: 'c@x' }), updated(contact(1, 'c@x', 4)))])).toBe(wrong)
    // The version was used up by one of the two.
    const third = during(5, 6, update(1, { value: 'd@x' }, 1), updated(contact(1, 'd@x', 3)))
    expect(verdictOf([...before, third])).toBe(wrong)
  })

  it('may be needed together with others, in an order of their own', () => {
    const history = [
      during(0, 1, ...addA),
      lost(
        2,
        changeSeveral({
          update: [{ id: 1, channel: 'email', ifVersion: 2, change: { value: 'c@x' } }],
          add: [email('b@x')],
        }),
      ),
      lost(2, update(1, { value: 'd@x' }, 1)),
      during(3, 4, list, listed(contact(1, 'c@x', 3), b2)),
    ]
    expect(verdictOf(history)).toBe(right)
  })

  it('may be a clear', () => {
    const before = [during(0, 1, ...addA), lost(2, clear)]
    expect(verdictOf([...before, during(3, 4, list, listed(a1)), during(5, 6, list, listed())])).toBe(right)
    expect(verdictOf([...before, during(3, 4, ...addB), during(5, 6, list, listed(b2))])).toBe(right)
    expect(verdictOf([...before, during(3, 4, list, listed()), during(5, 6, list, listed(a1))])).toBe(wrong)
  })
})

describe('what is told of a history that is not linearizable', () => {
  it('names the order as far as it goes, what cannot come next, and why', () => {
    const { order, report } = checkHistory([...sequence(addA, addB), during(4, 5, list, listed(b2)), lost(4, clear)])
    expect(order).toEqual([0, 1])
    expect(report).toContain('no order explains more than 2 of 3 answers')
    expect(report).toContain('#1 client 1 2.000–3.000 addContact(add email general "b@x") → added 2 v1')
    expect(report).toContain('#2 client 1 4.000–5.000 list → [2 v1]')
    expect(report).toContain('it does not show 1 v1 (email general "a@x")')
    expect(report).toContain('Of 1 operations whose outcome is unknown, 0 are among the 2 in this order.')
  })

  it('says when it gave up', () => {
    expect(checkHistory(simulate({ seed: 1, clients: 4, operations: 50 }), { maxSteps: 10 })).toMatchObject({
      verdict: 'undecided',
      report: expect.stringContaining('Not decided after 10 states'),
    })
  })

  it('refuses a history in which contacts cannot be told apart', () => {
    expect(() => checkHistory(sequence(addA, addA))).toThrow('"a@x" is added twice')
  })
})

describe('a history at random', () => {
  const seeds = Array.from({ length: 40 }, (_, i) => i + 1)

  it.each([0, 0.05, 0.15])(
    'of an organization that keeps its contract is right, with %d of the answers lost',
    (share) => {
      for (const seed of seeds) {
        const history = simulate({ seed, clients: 2 + (seed % 7), operations: 300, lost: share })
        expect(checkHistory(history), `seed ${seed}`).toMatchObject({ verdict: right })
      }
    },
  )

  it.each(Object.keys(spoilers))('is found wrong with %s', (name) => {
    let spoiled = 0
    for (const seed of seeds) {
      const history = simulate({ seed, clients: 2 + (seed % 7), operations: 150, lost: seed % 2 ? 0 : 0.05 })
      const wrongHistory = spoil(history, spoilers[name]!, randomFrom(seed))
      if (!wrongHistory) continue
      spoiled += 1
      expect(checkHistory(wrongHistory), `seed ${seed}`).toMatchObject({ verdict: wrong })
    }
    expect(spoiled).toBeGreaterThan(10)
  })

  it('is judged as by trying everything', () => {
    const verdicts = { [right]: 0, [wrong]: 0 }
    for (let seed = 1; seed <= 3000; seed += 1) {
      const random = randomFrom(seed)
      const history = simulate({ seed, clients: 3, operations: 7, lost: seed % 3 ? 0.35 : 0 })
      const mixed = random() < 0.7 ? mixUp(history, random) : history
      if (!namesWhatWasShown(mixed)) continue
      const expected = isLinearizable(mixed) ? right : wrong
      expect(verdictOf(mixed), `seed ${seed}`).toBe(expected)
      verdicts[expected] += 1
    }
    expect(Math.min(...Object.values(verdicts))).toBeGreaterThan(300)
  })
})

/**
 * Whether every id in a call was shown by some answer, with the value that was added: nobody can know the id otherwise.
 * Mixing up an answer may have hidden it.
 */
function namesWhatWasShown(history: readonly Operation[]): boolean {
  const calls = history.flatMap(({ call }) => (call.kind === 'change' ? [call] : []))
  const values = new Set(calls.flatMap((call) => call.add.map(({ value }) => value)))
  const shown = history.flatMap(({ answer }) => {
    if (answer?.kind === 'listed') return answer.contacts
    return answer?.kind === 'changed' ? answer.added : []
  })
  const known = new Set(shown.filter(({ value }) => values.has(value)).map(({ id }) => id))
  return calls.flatMap(({ update, remove }) => [...update, ...remove]).every(({ id }) => known.has(id))
}
