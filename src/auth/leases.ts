import { type Counter, createMemoryCounter, type Use, Windows, windowMs } from './windows.ts'

/** What a borrower says: it asks for points and gives back what it had left, or only gives back. */
export type ToLender =
  | { kind: 'take'; id: number; counter: string; key: string; points: number; left: number; endsAt: number }
  | { kind: 'back'; counter: string; key: string; left: number; endsAt: number }

/** What the lender says: all that counts as used by now, with `extra` points to spend without asking; or it wants them back. */
export type ToBorrower =
  | { kind: 'given'; id: number; counter: string; key: string; consumed: number; extra: number; endsAt: number }
  | { kind: 'recall'; counter: string; key: string; endsAt: number }

type Take = ToLender & { kind: 'take' }
type Given = ToBorrower & { kind: 'given' }

/** All borrowers together get this part of what is free, each the same. */
const lentPart = 1 / 16
/** How long borrowers may take to give back. What they have left by then counts as used. */
const recallMs = 500
/** How long a borrower waits for an answer before it counts for itself. */
const answerMs = 1000

interface Account {
  /** With all that is lent. */
  consumed: number
  readonly endsAt: number
  /** Who may have points left. */
  readonly lentTo: Set<number>
  /** Whether there was too little once: nothing more is lent then, so that every point is counted here. */
  isTight: boolean
  /** While points are wanted back: by whom they are owed, and who waits for them. */
  recall: { owing: Set<number>; waiting: [borrower: number, take: Take][]; timer: NodeJS.Timeout } | undefined
}

export interface Lender {
  receive(borrower: number, message: ToLender): void
  /** It has gone, with all that it had left. */
  forget(borrower: number): void
}

/**
 * Counts for several processes: what it answers is exact, and yet they seldom ask. Each is lent some of the points that are
 * free, to spend by itself; when they run out, all must give back what they have left before anybody is refused.
 */
export function createLender(
  limits: Readonly<Record<string, number>>,
  borrowers: number,
  send: (borrower: number, message: ToBorrower) => void,
): Lender {
  const counters = new Map(
    Object.entries(limits).map(([name, limit]) => [name, { limit, accounts: new Windows<Account>() }]),
  )
  const recalling = new Set<Account>()
  const gone = new Set<number>()

  const settle = (borrower: number, take: Take) => {
    const { id, counter, key, points } = take
    const { limit, accounts } = counters.get(counter)!
    const now = Date.now()
    let account = accounts.get(key, now)
    if (!account) {
      account = { consumed: 0, endsAt: now + windowMs, lentTo: new Set(), isTight: false, recall: undefined }
      accounts.set(key, account, now)
    }
    if (account.recall) {
      account.recall.waiting.push([borrower, take])
      return
    }
    const free = limit - account.consumed - points
    if (free < 0 && account.lentTo.size > 0) return void recall(account, borrower, take)
    const extra = account.isTight ? 0 : Math.max(0, Math.floor((free * lentPart) / borrowers))
    account.consumed += points + extra
    if (extra > 0) account.lentTo.add(borrower)
    const { consumed, endsAt } = account
    send(borrower, { kind: 'given', id, counter, key, consumed, extra, endsAt })
  }

  /** Wants back what was lent, and keeps the borrower waiting until then. */
  const recall = (account: Account, borrower: number, take: Take) => {
    const { counter, key } = take
    const owing = new Set([...account.lentTo].filter((one) => !gone.has(one)))
    account.isTight = true
    account.lentTo.clear()
    if (owing.size === 0) return void settle(borrower, take)
    const timer = setTimeout(() => resume(account), recallMs).unref()
    account.recall = { owing, waiting: [[borrower, take]], timer }
    recalling.add(account)
    for (const one of owing) send(one, { kind: 'recall', counter, key, endsAt: account.endsAt })
  }

  const paid = (account: Account, borrower: number) => {
    const owing = account.recall?.owing
    if (owing?.delete(borrower) && owing.size === 0) resume(account)
  }

  const resume = (account: Account) => {
    const { waiting, timer } = account.recall!
    clearTimeout(timer)
    account.recall = undefined
    recalling.delete(account)
    for (const [borrower, take] of waiting) settle(borrower, take)
  }

  return {
    receive(borrower, message) {
      const account = counters.get(message.counter)!.accounts.get(message.key, Date.now())
      // What was lent in another window is of no use any more.
      if (account?.endsAt === message.endsAt) account.consumed -= message.left
      if (message.kind === 'take') settle(borrower, message)
      else if (account) paid(account, borrower)
    },
    forget(borrower) {
      gone.add(borrower)
      for (const account of recalling) paid(account, borrower)
    },
  }
}

interface Lease {
  /** By all, with what is lent to anybody. */
  consumed: number
  /** To spend without asking. */
  left: number
  readonly endsAt: number
}

export interface Borrower {
  counterOf(name: string, limit: number): Counter
  receive(message: ToBorrower): void
}

/** Counts together with other processes, by their lender. `send` tells whether the lender can be reached. */
export function createBorrower(send: (message: ToLender) => boolean): Borrower {
  const counters = new Map<string, { limit: number; leases: Windows<Lease> }>()
  const pending = new Map<number, (given: Given) => void>()
  let lastId = 0

  /** Keeps what was lent besides, and tells what the key has used as far as is known here. */
  const keep = ({ counter, key, consumed, extra, endsAt }: Given): Use => {
    const { limit, leases } = counters.get(counter)!
    const now = Date.now()
    const lease = leases.get(key, now)
    const known = lease?.endsAt === endsAt ? lease : { consumed: 0, left: 0 }
    const left = known.left + extra
    leases.set(key, { consumed: known.consumed > limit ? known.consumed : consumed, left, endsAt }, now)
    return { consumed: consumed - left, msLeft: Math.max(0, endsAt - now) }
  }

  const counterOf = (counter: string, limit: number): Counter => {
    const leases = new Windows<Lease>()
    counters.set(counter, { limit, leases })
    const alone = createMemoryCounter()
    const ask = (key: string, points: number, lease: Lease | undefined): Use | Promise<Use> => {
      const { left, endsAt } = lease ?? { left: 0, endsAt: 0 }
      lastId += 1
      const id = lastId
      if (!send({ kind: 'take', id, counter, key, points, left, endsAt })) return alone.consume(key, points)
      if (lease) lease.left = 0
      return new Promise((resolve) => {
        const timer = setTimeout(() => {
          pending.delete(id)
          resolve(alone.consume(key, points))
        }, answerMs)
        pending.set(id, (given) => {
          clearTimeout(timer)
          resolve(keep(given))
        })
      })
    }
    return {
      consume(key, points) {
        const now = Date.now()
        const lease = leases.get(key, now)
        if (!lease) return ask(key, points, lease)
        // Nothing is free before the window ends.
        if (lease.consumed > limit) lease.consumed += points
        else if (lease.left >= points) lease.left -= points
        else return ask(key, points, lease)
        return { consumed: lease.consumed - lease.left, msLeft: lease.endsAt - now }
      },
    }
  }

  return {
    counterOf,
    receive(message) {
      if (message.kind === 'given') {
        const answer = pending.get(message.id)
        pending.delete(message.id)
        // One that comes too late has been done without, but what was lent with it is there to spend.
        if (answer) answer(message)
        else keep(message)
        return
      }
      const { counter, key, endsAt } = message
      const lease = counters.get(counter)!.leases.get(key, Date.now())
      const left = lease?.endsAt === endsAt ? lease.left : 0
      if (lease && left > 0) lease.left = 0
      send({ kind: 'back', counter, key, left, endsAt })
    },
  }
}
