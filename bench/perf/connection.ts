import { connect, type Socket } from 'node:net'
import { ReplyReader } from './reply.ts'

export interface Reply {
  status: number
  body: Buffer
  /** With its head. */
  bytes: number
}

/** A connection that is kept, with one request at a time. */
export class Connection {
  readonly #socket: Socket
  readonly #reader = new ReplyReader()
  #answered: Promise<unknown> = Promise.resolve()
  #waiting: { resolve(reply: Reply): void; reject(error: Error): void } | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (bytes: Buffer) => this.#take(bytes))
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('the server has closed the connection')))
  }

  static open(port: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new Connection(socket))
      })
    })
  }

  /** Sends a whole request and waits for its reply. */
  send(request: Buffer): Promise<Reply> {
    const answered = new Promise<Reply>((resolve, reject) => {
      this.#waiting = { resolve, reject }
      this.#socket.write(request)
    })
    this.#answered = answered
    return answered
  }

  /** Waits for the answer that is under way, and closes: what a server is at work on shall not end half way. */
  async close(): Promise<void> {
    await this.#answered.catch(() => {})
    this.#socket.destroy()
  }

  #take(bytes: Buffer): void {
    try {
      if (!this.#reader.take(bytes)) return
      const reply = this.#reader.finish()
      const waiting = this.#waiting
      this.#waiting = undefined
      waiting?.resolve(reply)
    } catch (error) {
      this.#fail(error as Error)
      this.#socket.destroy()
    }
  }

  #fail(error: Error): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.reject(error)
  }
}

/** One request on a connection of its own. */
export async function ask(port: number, request: string): Promise<Reply> {
  const connection = await Connection.open(port)
  try {
    return await connection.send(Buffer.from(request))
  } finally {
    await connection.close()
  }
}
