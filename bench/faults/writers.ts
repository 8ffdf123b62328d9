import { randomUUID } from 'node:crypto'
import { Agent } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { type Call, type Exchange, send } from './client.ts'
import { type Change, type Door, graphqlDoor, type KnownContact, restDoor, type Verdict } from './doors.ts'
import { combine, type Outcome, type Request, type Write } from './ledger.ts'

/** Writers and readers at work, and all they have noted. */
export interface Load {
  readonly writes: readonly Write[]
  readonly requests: readonly Request[]
  readonly reads: { answered: number; failed: number }
  /** What was told of attempts to write that were not acknowledged, and how often. */
  readonly told: ReadonlyMap<string, number>
  /** Requests that the gateway had begun, and that were not done all the same. */
  readonly brokenOff: readonly string[]
  /** How many milliseconds after a moment the next write was acknowledged; Infinity when none was in time. */
  acknowledgedAfter(moment: number, limitMs: number): Promise<number>
  /** Lets everybody end what they have begun, and repeat what is in doubt and has a key. */
  stop(): Promise<void>
}

export interface LoadOptions {
  origin: string
  /** Ids. Each writer keeps to one of them. */
  organizations: readonly number[]
  /** Makes the values of this load differ from all others; letters, digits and hyphens. */
  name: string
  writers: number
  readers: number
  /** When a caller gives up. */
  answerMs: number
  /** Asks the gateway to tell of each request that it has begun, and lets bodies come this late at most. */
  bodyDelayMs?: number
}

/** Between acknowledged writes: they are to meet faults, not to measure throughput. */
const pauseMs = 10
/** After anything else, as a caller does who does not want to make things worse. */
const pauseAfterFailureMs = 250
/** How long a writer goes on to repeat a write in doubt when it is to stop. */
const settleMs = 15_000
const readPauseMs = 50

/** Every fourth writer comes through REST. */
const doorOf = (writer: number): Door => (writer % 4 === 3 ? restDoor : graphqlDoor)

export function startLoad(options: LoadOptions): Load {
  const { origin, organizations, name, answerMs, bodyDelayMs } = options
  const writes: Write[] = []
  const requests: Request[] = []
  const brokenOff: string[] = []
  const reads = { answered: 0, failed: 0 }
  const listeners = new Set<() => void>()
  const told = new Map<string, number>()
  let stopAt = Number.POSITIVE_INFINITY
  const isStopping = () => stopAt < Number.POSITIVE_INFINITY

  const exchange = async (agent: Agent, call: Call): Promise<Exchange> => {
    // The caller waits a little longer than allowed, to know a late answer from none.
    const limitMs = answerMs + 2000
    const delay = bodyDelayMs === undefined ? undefined : Math.random() * bodyDelayMs
    return send(origin, call, { agent, limitMs, bodyDelayMs: delay })
  }

  const attempt = async (agent: Agent, door: Door, change: Change, key: string | undefined): Promise<Verdict> => {
    const answer = await exchange(agent, door.callFor(change, key))
    const verdict = door.read(change, answer)
    requests.push({ ms: answer.ms, isAnswered: answer.end !== 'unanswered', unclear: verdict.unclear })
    if (answer.hasBegun && verdict.outcome !== 'acknowledged') {
      brokenOff.push(`${change.kind} by ${door.name}: ${verdict.reason}`)
    }
    if (verdict.outcome !== 'acknowledged') {
      const what = `${verdict.outcome}: ${verdict.reason}`
      told.set(what, (told.get(what) ?? 0) + 1)
    }
    return verdict
  }

  const perform = async (agent: Agent, door: Door, change: Change, key: string | undefined) => {
    const write: Write = { ...effectsOf(change), outcome: 'unknown' }
    let outcome: Outcome | undefined
    for (;;) {
      const verdict = await attempt(agent, door, change, key)
      outcome = combine(outcome, verdict.outcome)
      if (outcome === 'acknowledged') {
        write.version = verdict.contacts[0]?.version
        write.outcome = outcome
        writes.push(write)
        for (const tell of listeners) tell()
        return { outcome, contacts: verdict.contacts }
      }
      await pause(pauseAfterFailureMs)
      const isWorthRepeating = key !== undefined && outcome === 'unknown' && performance.now() < stopAt + settleMs
      if (isWorthRepeating) continue
      write.outcome = outcome
      writes.push(write)
      return { outcome, contacts: [] }
    }
  }

  const work = async (writer: number) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const door = doorOf(writer)
    const organization = organizations[writer % organizations.length]!
    const known: KnownContact[] = []
    for (let number = 1; !isStopping(); number += 1) {
      const { change, isKeyed } = nextChange({ door, name, writer, number, organization, known })
      const { outcome, contacts } = await perform(agent, door, change, isKeyed ? randomUUID() : undefined)
      const values = effectsOf(change).adds
      if (outcome === 'acknowledged') {
        known.push(...contacts.map((contact, index) => ({ ...contact, value: values[index]! })))
        await pause(pauseMs)
      } else if (outcome === 'refused' && 'contact' in change) known.push(change.contact)
    }
    agent.destroy()
  }

  const read = async (reader: number) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const door = reader % 2 === 0 ? graphqlDoor : restDoor
    while (!isStopping()) {
      const answer = await exchange(agent, door.readCall(organizations[reader % organizations.length]!))
      const unclear = door.faultOfRead(answer)
      requests.push({ ms: answer.ms, isAnswered: answer.end !== 'unanswered', unclear })
      const isGood = answer.end === 'answered' && answer.status === 200
      reads[isGood ? 'answered' : 'failed'] += 1
      await pause(isGood ? readPauseMs : pauseAfterFailureMs)
    }
    agent.destroy()
  }

  const everybody = Promise.all([
    ...Array.from({ length: options.writers }, (_, writer) => work(writer)),
    ...Array.from({ length: options.readers }, (_, reader) => read(reader)),
  ])
  // It is awaited when it stops; until then a bug of ours is not to end the bench without cleaning up.
  everybody.catch(() => {})
  return {
    writes,
    requests,
    reads,
    brokenOff,
    told,
    acknowledgedAfter: (moment, limitMs) =>
      new Promise((resolve) => {
        const finish = (ms: number) => {
          clearTimeout(tooLong)
          listeners.delete(tell)
          resolve(ms)
        }
        const tell = () => finish(performance.now() - moment)
        const tooLong = setTimeout(() => finish(Number.POSITIVE_INFINITY), limitMs)
        listeners.add(tell)
      }),
    async stop() {
      stopAt = performance.now()
      await everybody
    },
  }
}

/** What is to be there, and what is not, once a change was made. */
export function effectsOf(change: Change): Pick<Write, 'adds' | 'takes'> {
  switch (change.kind) {
    case 'add':
      return { adds: [change.value], takes: [] }
    case 'pair':
      return { adds: change.values, takes: [] }
    case 'update':
      return { adds: [change.value], takes: [change.contact.value] }
    case 'remove':
      return { adds: [], takes: [change.contact.value] }
  }
}

interface Place {
  door: Door
  name: string
  writer: number
  /** Counts the changes of the writer. */
  number: number
  organization: number
  /** Contacts of the writer that are what it believes; the one that is changed is taken out. */
  known: KnownContact[]
}

/** Adds most of the time, so that there is something to change; half of everything has a key. */
function nextChange({ door, name, writer, number, organization, known }: Place): { change: Change; isKeyed: boolean } {
  const label = `w${writer}-${String(number).padStart(6, '0')}`
  const email = `${name}-${label}@example.com`
  const website = `${label}.${name}.example.com`
  const isKeyed = number % 2 === 0
  const turn = Math.floor(number / 2) % 4
  if (turn === 1 && known.length > 0) {
    const contact = known.shift()!
    return { change: { kind: 'update', organization, contact, value: valueLike(contact, email, website) }, isKeyed }
  }
  if (turn === 3 && known.length > 3)
    return { change: { kind: 'remove', organization, contact: known.shift()! }, isKeyed }
  if (turn === 2 && door.name === 'graphql') {
    return { change: { kind: 'pair', organization, values: [email, website] }, isKeyed }
  }
  return { change: { kind: 'add', organization, value: writer % 2 === 0 ? email : website }, isKeyed }
}

/** A contact keeps its channel. */
const valueLike = ({ value }: KnownContact, email: string, website: string) => (value.includes('@') ? email : website)
