import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import postgres from 'postgres'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { createPostgresDatabase } from '../support/database.ts'
import { beginRequest, type Gateway, linesOf, useGateways, warningsOf } from '../support/gateway.ts'

// Each test starts processes, and other test files keep the machine busy meanwhile.
vi.setConfig({ testTimeout: 120_000 })

const gateways = useGateways()

async function emptyDatabase() {
  const { url, drop } = await createPostgresDatabase()
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  onTestFinished(async () => {
    await sql.end()
    await drop()
  })
  return { url, sql }
}

async function serve(env: Record<string, string> = {}) {
  const { url: databaseUrl, sql } = await emptyDatabase()
  const started = await gateways.serve({ env: { DATABASE_URL: databaseUrl, WORKERS: '2', ...env } })
  // The log may come later than the greeting.
  await workersServe(started.gateway, Number(env.WORKERS ?? 2))
  return { ...started, sql }
}

/** The pids of all workers that have served so far, by their numbers. */
const pidsOf = (gateway: Gateway) =>
  new Map(
    linesOf({ stderr: gateway.stderr.slice(0, gateway.stderr.lastIndexOf('\n') + 1) })
      .filter(({ msg }) => msg === 'a worker serves')
      .map(({ worker, pid }) => [worker as number, pid as number]),
  )

const workersServe = (gateway: Gateway, count: number) =>
  vi.waitUntil(() => pidsOf(gateway).size === count, { timeout: 60_000 })

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  try {
    // One that has ended, but that nobody has asked how yet, can still be sent signals.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return process.platform !== 'linux'
  }
}
const allEnded = (pids: Iterable<number>) =>
  vi.waitUntil(() => [...pids].every((pid) => !isRunning(pid)), { timeout: 20_000 })

/** Which worker has answered which request. */
const answeredBy = (gateway: Gateway) =>
  new Map(
    linesOf(gateway).flatMap(({ requestId, worker }) => (requestId ? [[requestId as string, worker as number]] : [])),
  )

/** One request; rejects when its connection is cut. */
function send(url: string, id: string, agent: Agent | false = false): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'x-request-id': id }
    const sent = request(url, { agent, method: 'POST', headers }, (response) => {
      response
        .once('error', reject)
        .once('end', () => resolve(response.statusCode!))
        .resume()
    })
    sent.once('error', reject).end('{"query":"{ __typename }"}')
  })
}

const sendMany = (url: string, count: number) =>
  Promise.all(Array.from({ length: count }, () => send(url, randomUUID())))

describe('several workers', () => {
  it('serve together, as one gateway that has brought the tables once', async () => {
    const { gateway, url, sql } = await serve({ WORKERS: '3' })

    expect(await sendMany(url, 6)).toEqual(Array(6).fill(200))

    const pids = pidsOf(gateway)
    expect(await gateway.stop()).toEqual({ code: 0, signal: null })
    expect(gateway.stdout.match(/is ready/g)).toHaveLength(1)
    expect(gateway.stdout).toContain('There are 3 workers.\n')
    expect(new Set(answeredBy(gateway).values())).toEqual(new Set([1, 2, 3]))
    expect(warningsOf(gateway)).toEqual([])
    expect(await sql`select hash from drizzle.__drizzle_migrations group by hash having count(*) > 1`).toEqual([])
    expect(await sql`select name from accounts`).toEqual([{ name: 'demo' }])
    expect(pids.size).toBe(3)
    expect([...pids.values()].filter(isRunning)).toEqual([])
  })

  it('let in exactly as many requests of a caller as the limit says, whoever they come to', async () => {
    const { gateway, url } = await serve({ RATE_LIMIT: 'on', RATE_LIMIT_REQUESTS: '60', RATE_LIMIT_CONCURRENT: '1000' })

    const statuses = await sendMany(url, 100)

    expect(statuses.toSorted()).toEqual([...Array(60).fill(200), ...Array(40).fill(429)])
    await gateway.stop()
    expect(new Set(answeredBy(gateway).values())).toEqual(new Set([1, 2]))
  })
})

describe('a worker that dies', () => {
  /** Sends one request after the other on a connection that is kept, and opens another when it is cut. */
  function hammer(url: string, name: string) {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const outcomes: string[] = []
    let isOver = false
    const ended = (async () => {
      while (!isOver) {
        const id = `${name}-${outcomes.length}`
        outcomes.push(
          await send(url, id, agent).then(
            (status) => `${status}`,
            () => 'cut',
          ),
        )
      }
      agent.destroy()
    })()
    const stop = () => {
      isOver = true
      return ended
    }
    return { outcomes, stop }
  }

  it('takes its own connections along, no others, and is replaced', async () => {
    const { gateway, url } = await serve()
    const clients = Array.from({ length: 8 }, (_, i) => hammer(url, `client-${i}`))
    await vi.waitUntil(() => clients.every(({ outcomes }) => outcomes.length > 2))

    process.kill(pidsOf(gateway).get(1)!, 'SIGKILL')
    await workersServe(gateway, 3)
    // The new one gets its turns.
    const counts = clients.map(({ outcomes }) => outcomes.length)
    await vi.waitUntil(() => clients.every(({ outcomes }, i) => outcomes.length > counts[i]! + 2))
    expect(await sendMany(url, 4)).toEqual(Array(4).fill(200))
    await Promise.all(clients.map(({ stop }) => stop()))
    await gateway.stop()

    const by = answeredBy(gateway)
    for (const [i, { outcomes }] of clients.entries()) {
      const cuts = outcomes.flatMap((outcome, n) => (outcome === '200' ? [] : [n]))
      expect(outcomes.filter((outcome) => outcome !== '200' && outcome !== 'cut')).toEqual([])
      expect(cuts.length).toBeLessThanOrEqual(by.get(`client-${i}-0`) === 1 ? 1 : 0)
    }
    expect(new Set(by.values())).toEqual(new Set([1, 2, 3]))
    expect(warningsOf(gateway)).toMatchObject([
      { worker: 1, signal: 'SIGKILL', msg: 'a worker has ended: another takes its place' },
    ])
  })

  it('soon after its start is replaced after pauses that grow', async () => {
    const { gateway } = await serve()
    for (const worker of [1, 3, 4]) {
      process.kill(pidsOf(gateway).get(worker)!, 'SIGKILL')
      await workersServe(gateway, worker === 1 ? 3 : worker + 1)
    }
    await gateway.stop()

    expect(warningsOf(gateway).map(({ pauseMs }) => pauseMs)).toEqual([100, 200, 400])
  })
})

describe('the metrics of several workers', () => {
  it('are added up, and never fall when one of them dies', async () => {
    const { gateway, url } = await serve({ METRICS_PORT: '0' })
    const [, at] = await gateway.printed(/Prometheus finds its metrics at (\S+)\.\n/)
    const read = async () => {
      const text = await (await fetch(at!)).text()
      const figure = (name: string) => Number(text.match(new RegExp(`^${name} (\\d+)$`, 'm'))?.[1] ?? 0)
      return {
        requests: figure('gateway_requests_total{door="graphql",operation="anonymous",outcome="ok"}'),
        workers: figure('gateway_workers'),
        lost: figure('gateway_workers_lost_total'),
        isIdle: figure('gateway_database_connections{state="busy"}') === 0,
      }
    }
    await sendMany(url, 10)
    const before = await vi.waitFor(async () => {
      const values = await read()
      expect(values.requests).toBe(10)
      return values
    })

    process.kill(pidsOf(gateway).get(2)!, 'SIGKILL')
    await gateway.printed(/a worker has ended/)
    const meanwhile = await read()
    await workersServe(gateway, 3)
    await sendMany(url, 4)

    expect(before).toEqual({ requests: 10, workers: 2, lost: 0, isIdle: true })
    expect(meanwhile).toEqual({ requests: 10, workers: 1, lost: 1, isIdle: true })
    await vi.waitFor(async () => expect(await read()).toEqual({ requests: 14, workers: 2, lost: 1, isIdle: true }))
  })
})

describe('several workers stop', () => {
  const stopping = /stopping: requests in progress may end/

  async function withRequestsInProgress() {
    const { gateway, url } = await serve()
    const inProgress = await Promise.all(Array.from({ length: 4 }, () => beginRequest(url, '{ __typename }')))
    const finish = async () => (await Promise.all(inProgress.map((one) => one.finish()))).map(({ status }) => status)
    return { gateway, url, finish, pids: [...pidsOf(gateway).values()] }
  }

  it('by a signal to all of them, as from a terminal, when their requests have ended', async () => {
    const { gateway, url, finish, pids } = await withRequestsInProgress()

    for (const pid of [gateway.pid, ...pids]) process.kill(pid, 'SIGINT')
    await gateway.printed(stopping)
    await vi.waitFor(() => expect(send(url, 'late')).rejects.toThrow('ECONNREFUSED'), { timeout: 10_000 })

    expect(await finish()).toEqual([200, 200, 200, 200])
    expect(await gateway.exited).toEqual({ code: 0, signal: null })
    expect(pids.filter(isRunning)).toEqual([])
    expect(new Set(answeredBy(gateway).values())).toEqual(new Set([1, 2]))
    expect(warningsOf(gateway)).toEqual([])
  })

  it('at once by a second signal', async () => {
    const { gateway, finish, pids } = await withRequestsInProgress()
    gateway.signal('SIGTERM')
    await gateway.printed(stopping)

    gateway.signal('SIGTERM')

    expect(await gateway.exited).toEqual({ code: 143, signal: null })
    await allEnded(pids)
    await expect(finish()).rejects.toThrow()
  })

  it('by themselves when the primary is killed, when their requests have ended', async () => {
    const { gateway, finish, pids } = await withRequestsInProgress()

    gateway.signal('SIGKILL')
    await gateway.exited

    expect(pids.every(isRunning)).toBe(true)
    expect(await finish()).toEqual([200, 200, 200, 200])
    await allEnded(pids)
  })

  it('without failing a request that was sent, however often it comes', async () => {
    const { gateway, url } = await serve()
    /** Until no connection can be opened any more. */
    const hammer = async (name: string) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 })
      for (let answered = 0; ; answered += 1) {
        const outcome = await send(url, `${name}-${answered}`, agent).catch(({ message }: Error) => message)
        if (outcome !== 200) return { answered, outcome }
      }
    }
    const hammering = Promise.all(Array.from({ length: 16 }, (_, i) => hammer(`client-${i}`)))
    await vi.waitUntil(() => answeredBy(gateway).size > 200)

    expect(await gateway.stop()).toEqual({ code: 0, signal: null })

    const results = await hammering
    expect(results.map(({ outcome }) => outcome)).toEqual(Array(16).fill(expect.stringContaining('ECONNREFUSED')))
    // Each answer has its line, up to the last.
    expect(answeredBy(gateway).size).toBe(results.reduce((sum, { answered }) => sum + answered, 0))
  })
})

describe('a start of several workers that cannot be', () => {
  it('is refused once, in the words of a single process: a port that is taken', async () => {
    const { url } = await emptyDatabase()
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void taken.close())
    const { port } = taken.address() as AddressInfo

    const ended = await gateways.run([], { env: { DATABASE_URL: url, WORKERS: '2', PORT: `${port}` } })

    const stderr = `Port ${port} of 127.0.0.1 is taken: set PORT to another one.\n`
    expect(ended).toEqual({ code: 1, signal: null, stdout: '', stderr })
  })

  it('is refused once, in the words of a single process: a database that is not there', async () => {
    const { url } = await emptyDatabase()
    const missing = new URL(url)
    missing.pathname = '/nowhere'

    const ended = await gateways.run([], { env: { DATABASE_URL: missing.href, WORKERS: '2' } })

    const stderr = 'The database refused the connection: database "nowhere" does not exist. Check DATABASE_URL.\n'
    expect(ended).toEqual({ code: 1, signal: null, stdout: '', stderr })
  })

  it.each([
    [
      'by themselves',
      "process.env.DATABASE_URL += '_gone'",
      /^The database cannot be reached \(3D000\)\. Check DATABASE_URL\.\n$/,
    ],
    ['without a word', 'process.exit(7)', /^A worker has ended before it served \(code 7\)\.\n$/],
  ])('tells once why its workers cannot serve, which they tell %s', async (_, fail, message) => {
    const { url } = await emptyDatabase()
    const inWorkers = `import cluster from 'node:cluster'\nif (cluster.isWorker) ${fail}`
    const nodeOptions = ['--import', `data:text/javascript,${encodeURIComponent(inWorkers)}`]

    // The log may tell more, of the database for instance.
    const env = { DATABASE_URL: url, WORKERS: '3', LOG_LEVEL: 'silent' }
    const ended = await gateways.run([], { env, nodeOptions })

    expect(ended).toEqual({ code: 1, signal: null, stdout: '', stderr: expect.stringMatching(message) })
  })
})
