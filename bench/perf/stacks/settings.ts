/** What every server of the bench is told, by its environment. */
export const settings = {
  port: Number(read('PORT')),
  databaseUrl: read('DATABASE_URL'),
  poolSize: Number(read('POOL_SIZE')),
  /** The id of the account whose data is served: nobody here authenticates. */
  account: Number(read('ACCOUNT')),
}

export const host = '127.0.0.1'

/** Ends the process as the gateway ends: what has been opened is closed, and then nothing is left to do. */
export function closeOnSignal(close: () => unknown): void {
  process.once('SIGTERM', async () => {
    await close()
    // Pools of some peers keep the process a while.
    process.exit()
  })
}

function read(name: string): string {
  const text = process.env[name]
  if (!text) throw new Error(`${name} is not set: start this by the bench`)
  return text
}
