import { randomUUID } from 'node:crypto'
import { Agent } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { send } from './client.ts'
import { type Change, type Door, graphqlDoor, type KnownContact, restDoor } from './doors.ts'
import { combine, type Outcome } from './ledger.ts'
import type { Trial } from './trial.ts'
import { effectsOf } from './writers.ts'

/** How many answers in a row are lost: the gateway may get over one by itself, but not over that many; the caller has to. */
const timesLost = [1, 7]
const maxAttempts = 20
const pauseMs = 100

/**
 * Every kind of change, through every door: it is committed, its answer is lost, and it is repeated with its key until it is
 * acknowledged. Nothing else is under way meanwhile.
 */
export async function loseAnswers(trial: Trial): Promise<void> {
  const { lostAnswers } = trial.figures.scale
  for (let round = 1; round <= lostAnswers; round += 1) {
    trial.tell(`${round} of ${lostAnswers}`)
    for (const times of timesLost) {
      for (const door of [graphqlDoor, restDoor])
        await loseAnswersAt(trial, door, `${door.name}-${times}-${round}`, times)
    }
    trial.round()
  }
}

async function loseAnswersAt(trial: Trial, door: Door, name: string, times: number): Promise<void> {
  const organization = trial.organizations[0]!
  const emailOf = (what: string) => `${name}-${what}@example.com`
  const lose = (change: Change) => repeatUntilAcknowledged(trial, door, change, times)

  await lose({ kind: 'add', organization, value: emailOf('kept') })
  const [contact] = await lose({ kind: 'add', organization, value: emailOf('old') })
  const old = contact && { ...contact, value: emailOf('old') }
  if (door.name === 'graphql') {
    await lose({ kind: 'pair', organization, values: [emailOf('pair'), `${name}-pair.example.com`] })
  }
  const [updated] = old ? await lose({ kind: 'update', organization, contact: old, value: emailOf('new') }) : []
  if (updated) await lose({ kind: 'remove', organization, contact: { ...updated, value: emailOf('new') } })
}

async function repeatUntilAcknowledged(
  trial: Trial,
  door: Door,
  change: Change,
  times: number,
): Promise<Omit<KnownContact, 'value'>[]> {
  const { proxy, gateway } = trial.stage
  const agent = new Agent()
  const key = randomUUID()
  // The key is sent along with the statement that makes the change, and with no other.
  await proxy.set({ kind: 'swallow-answer', containing: key, times })
  let outcome: Outcome | undefined
  const reasons: string[] = []
  for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
    const answer = await send(gateway.origin, door.callFor(change, key), { agent, limitMs: trial.answerMs })
    const verdict = door.read(change, answer)
    trial.requests.push({ ms: answer.ms, isAnswered: answer.end !== 'unanswered', unclear: verdict.unclear })
    outcome = combine(outcome, verdict.outcome)
    if (verdict.reason) reasons.push(verdict.reason)
    if (outcome === 'acknowledged') {
      if (proxy.swallowed === 0) trial.fail(`no answer was lost: ${change.kind} by ${door.name}`)
      trial.writes.push({ ...effectsOf(change), outcome, version: verdict.contacts[0]?.version })
      return verdict.contacts
    }
    await pause(pauseMs)
  }
  trial.writes.push({ ...effectsOf(change), outcome: outcome ?? 'unknown' })
  trial.fail(`${change.kind} by ${door.name} was never acknowledged: ${[...new Set(reasons)].join('; ')}`)
  return []
}
