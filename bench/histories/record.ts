import { Agent } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { randomFrom } from '../../test/support/random-document.ts'
import { send } from '../faults/client.ts'
import type { Operation } from './checker.ts'
import { createChooser, learn, newKnowledge } from './choose.ts'
import { hasDirective, readAnswer, requestFor } from './graphql.ts'
import type { Call } from './model.ts'

// Clients that note what they asked for, when, and what they were told.

/** A history for each organization, and what does not belong into them. */
export interface Recording {
  /** By the id of the organization. */
  histories: Map<number, Operation[]>
  /** Calls that were refused before anything could come of them, and lists that failed. */
  leftOut: number
  /** Calls that were repeated with their key. */
  repeated: number
  /** Answers that no documented rule explains. They are in the histories as unknown. */
  surprises: string[]
}

export interface RecordOptions {
  /** E.g. `http://127.0.0.1:4000`. */
  origin: string
  /** Their ids. They are empty, and nobody else writes to them. */
  organizations: readonly number[]
  clients: number
  seed: number
  /** Whether some calls carry a key, and are repeated by it while nobody knows what became of them. */
  withKeys: boolean
  /** How long a client waits for an answer. */
  answerMs: number
}

export interface Clients {
  /** Resolves when all clients begin a new round. */
  untilBusy(): Promise<void>
  /** Lets everybody end what they have begun, looks at each organization once more, and tells what was noted. */
  stop(): Promise<Recording>
  /** Lets nobody begin anything more, and waits for nothing. */
  abandon(): void
}

/** Operations that a client sends one after the other, without a pause. */
const longestBurst = 8
/**
 * From one round to the next. All clients begin it together, and most of them at the same organization, so that they meet;
 * in between they rest, so that histories are short enough to be checked.
 */
const roundMs = 100
/** After a failure, as a caller does who does not want to make things worse. */
const pauseAfterFailureMs = 60
/** How long a client goes on to repeat a call. */
const repeatMs = 8_000
const shareWithKeys = 0.4
/** The share of calls whose client goes away before the answer. */
const shareGivenUp = 0.015
const longestPatienceMs = 6

/** Whether the gateway knows the directive that makes a mutation safe to repeat. */
export async function canRepeat(origin: string, answerMs: number): Promise<boolean> {
  const answer = await send(origin, hasDirective.call, { agent: new Agent(), limitMs: answerMs })
  return answer.end === 'answered' && hasDirective.read(answer.text)
}

/** Starts clients that do all there is to do with contacts, at random, until they are stopped. */
export function startClients({ origin, organizations, clients, seed, withKeys, answerMs }: RecordOptions): Clients {
  const histories = new Map(organizations.map((id) => [id, [] as Operation[]]))
  const known = new Map(organizations.map((id) => [id, newKnowledge()]))
  const recording: Recording = { histories, leftOut: 0, repeated: 0, surprises: [] }
  const startedAt = performance.now()
  let isStopping = false
  const elapsedMs = () => performance.now() - startedAt
  const nextRound = () => pause(roundMs - (elapsedMs() % roundMs))

  const attempt = async (
    agent: Agent,
    organization: number,
    call: Call,
    options: { key?: string; limitMs: number },
  ) => {
    const request = requestFor(organization, call, options.key)
    const reading = readAnswer(call, await send(origin, request, { agent, limitMs: options.limitMs }))
    if (reading.surprise) recording.surprises.push(reading.surprise)
    return reading
  }

  /** Does one operation, and notes it unless it cannot have had an effect. Tells whether it was answered. */
  const perform = async (
    agent: Agent,
    client: number,
    organization: number,
    call: Call,
    how: How,
  ): Promise<boolean> => {
    const operation: Operation = { client, invoked: performance.now(), completed: null, call, answer: null }
    const history = histories.get(organization)!
    history.push(operation)
    const { key } = how
    let reading = await attempt(agent, organization, call, { key, limitMs: how.limitMs })
    // What is refused at a later attempt may have been done at the first.
    const isInDoubt = reading.outcome === 'unknown'
    const repeatUntil = performance.now() + repeatMs
    while (key !== undefined && isInDoubt && reading.outcome !== 'answered' && performance.now() < repeatUntil) {
      await pause(how.pauseMs)
      recording.repeated += 1
      reading = await attempt(agent, organization, call, { key, limitMs: answerMs })
    }
    if (reading.outcome === 'answered') {
      Object.assign(operation, { completed: performance.now(), answer: reading.answer })
      learn(known.get(organization)!, call, reading.answer)
      return true
    }
    if (!isInDoubt || call.kind === 'list') {
      recording.leftOut += 1
      history.splice(history.indexOf(operation), 1)
    }
    return false
  }

  const work = async (client: number) => {
    const random = randomFrom(seed * 1000 + client)
    const below = (limit: number) => Math.floor(random() * limit)
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const name = `s${seed}c${client}`
    const choose = createChooser(random, name)
    let keys = 0
    const howFor = (call: Call): How => {
      keys += 1
      return {
        ...(withKeys && call.kind !== 'list' && random() < shareWithKeys && { key: `${name}k${keys}` }),
        limitMs: random() < shareGivenUp ? 1 + random() * longestPatienceMs : answerMs,
        pauseMs: pauseAfterFailureMs * (0.5 + random()),
      }
    }
    while (!isStopping) {
      const organization = someOrganization(organizations, elapsedMs(), random)
      for (let left = 1 + below(longestBurst); left > 0 && !isStopping; left -= 1) {
        const call = choose(known.get(organization)!)
        const how = howFor(call)
        if (!(await perform(agent, client, organization, call, how))) await pause(how.pauseMs)
      }
      await nextRound()
    }
    agent.destroy()
  }

  /** A last look, when everything else has ended. */
  const look = async (organization: number) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const how = { limitMs: answerMs, pauseMs: pauseAfterFailureMs }
    for (let tries = 1; tries <= 20; tries += 1) {
      if (await perform(agent, 0, organization, { kind: 'list' }, how)) break
      await pause(how.pauseMs)
    }
    agent.destroy()
  }

  const everybody = Promise.all(Array.from({ length: clients }, (_, i) => work(i + 1)))
  // It is awaited when it stops; until then a bug of ours is not to end the run without cleaning up.
  everybody.catch(() => {})
  return {
    untilBusy: nextRound,
    abandon() {
      isStopping = true
    },
    async stop() {
      isStopping = true
      await everybody
      for (const organization of organizations) await look(organization)
      return recording
    },
  }
}

/** How a call is sent. */
interface How {
  key?: string
  /** When the client gives up. */
  limitMs: number
  pauseMs: number
}

/** Mostly the one of the round. */
function someOrganization(organizations: readonly number[], elapsedMs: number, random: () => number): number {
  const turn = random() < 0.8 ? Math.round(elapsedMs / roundMs) : Math.floor(random() * organizations.length)
  return organizations[turn % organizations.length]!
}
