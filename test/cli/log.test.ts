import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createOutput, logDatabase } from '../../src/cli/log.ts'
import { beginVisit, during } from '../../src/telemetry/visit.ts'

describe('the output of the log', () => {
  let folder: string
  let fd: number
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'contacts-gateway-log-'))
    fd = openSync(join(folder, 'log'), 'a')
  })
  afterEach(() => {
    closeSync(fd)
    rmSync(folder, { recursive: true })
  })
  const written = () => readFileSync(join(folder, 'log'), 'utf8')
  const lines = Array.from({ length: 2_000 }, (_, i) => `line ${i} ä\n`)

  it('writes every line, in order', async () => {
    const output = createOutput(fd, () => {})
    for (const line of lines) output.write(line)
    await output.flush()

    expect(written()).toBe(lines.join(''))
  })

  it('writes at the end of the process what is left', async () => {
    const output = createOutput(fd, () => {})
    output.write(lines[0]!)
    for (const line of lines.slice(1)) output.write(line)
    output.flushSync()

    // The first was under way already.
    await vi.waitUntil(() => written().length === lines.join('').length)
    expect(new Set(written().split('\n'))).toEqual(new Set(lines.join('').split('\n')))
  })

  it('writes by itself what comes, however little', async () => {
    const output = createOutput(fd, () => {})
    output.write('one\n')
    await vi.waitUntil(() => written() === 'one\n')
    output.write('another\n')

    await vi.waitUntil(() => written() === 'one\nanother\n')
  })

  it('goes on after it was flushed', async () => {
    const output = createOutput(fd, () => {})
    output.write('one\n')
    await output.flush()
    output.write('another\n')
    await output.flush()

    expect(written()).toBe('one\nanother\n')
  })

  it('has nothing to wait for when nothing was written', async () => {
    await createOutput(fd, () => {}).flush()

    expect(written()).toBe('')
  })

  it('drops what cannot be written, and goes on', async () => {
    const broken = createOutput(1_000_000, () => {})
    broken.write('lost\n')
    await broken.flush()
    broken.write('lost, too\n')
    broken.flushSync()
  })
})

describe('a reader of the log that is slow', () => {
  let server: Server
  let reader: Socket
  let writer: Socket
  beforeEach(async () => {
    server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
    writer = connect((server.address() as { port: number }).port, '127.0.0.1')
    reader = await accepted
    reader.pause()
    await vi.waitUntil(() => !writer.connecting)
  })
  afterEach(() => {
    reader.destroy()
    writer.destroy()
    server.close()
  })
  const fdOf = (socket: Socket) => (socket as unknown as { _handle: { fd: number } })._handle.fd

  it('keeps nobody waiting, gets no more than fits, and hears how much was dropped', async () => {
    let dropped = 0
    const output = createOutput(fdOf(writer), (lines) => {
      dropped += lines
    })
    const line = `${'x'.repeat(1023)}\n`
    const count = 60_000
    const begun = performance.now()

    for (let i = 0; i < count; i += 1) {
      output.write(line)
      if (i % 1000 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    const took = performance.now() - begun
    let read = 0
    reader.on('data', ({ length }) => {
      read += length
    })
    reader.resume()
    await vi.waitUntil(() => read / line.length === count - dropped, { timeout: 20_000 })

    expect(took).toBeLessThan(5_000)
    expect(dropped).toBeGreaterThan(1_000)
  })

  it('does not keep the process when it takes nothing', async () => {
    const output = createOutput(fdOf(writer), () => {})
    for (let i = 0; i < 10_000; i += 1) output.write('x'.repeat(1024))
    const begun = performance.now()

    await output.flush()
    output.flushSync()

    expect(performance.now() - begun).toBeLessThan(3_000)
  })
})

describe('what the database tells of itself', () => {
  const logged: string[] = []
  const log = pino(
    { level: 'debug', base: undefined, timestamp: false },
    { write: (line: string) => logged.push(line) },
  )
  beforeEach(() => {
    logged.length = 0
  })
  const lines = () => logged.map((line) => JSON.parse(line))

  it('is logged where a statement was slow: its name, how long, and for which request', () => {
    const { onStatement } = logDatabase(log, 500)
    const visit = beginVisit({ method: 'GET', path: '/', requestId: 'abc' })

    onStatement?.('fast', 500, 'ok')
    during(visit, () => onStatement?.('contacts_page', 612.3, 'ok'))
    onStatement?.('token_by_hash', 700, 'timeout')

    expect(lines()).toEqual([
      { level: 40, requestId: 'abc', statement: 'contacts_page', ms: 612, msg: 'slow statement' },
      { level: 40, statement: 'token_by_hash', ms: 700, msg: 'slow statement' },
    ])
  })

  it('is logged when it goes away, without values, and when it is back', () => {
    const { onBreaker } = logDatabase(log, 500)
    const cause = Object.assign(new Error('connect to user:secret@host'), { code: 'ECONNREFUSED' })

    onBreaker?.(true, cause)
    onBreaker?.(false, undefined)

    expect(lines()).toEqual([
      expect.objectContaining({ level: 50, msg: 'the database is away: statements are refused until it is back' }),
      { level: 30, msg: 'the database is back' },
    ])
    expect(lines()[0].error).toMatchObject({ type: 'Error', code: 'ECONNREFUSED' })
    expect(logged.join('')).not.toContain('secret')
  })
})
