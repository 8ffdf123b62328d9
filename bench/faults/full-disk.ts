import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

export interface FullDisk {
  /** Makes room again. */
  free(): void
}

const chunkSizes = [1024 * 1024, 4096]
const topUpMs = 100

/** Fills the disk that a folder is on to its last block, and takes whatever becomes free while it is to stay full. */
export function fillDisk(folder: string): FullDisk {
  const ballast = mkdtempSync(join(folder, 'ballast-'))
  const file = openSync(join(ballast, 'ballast'), 'w')
  const fill = () => {
    for (const size of chunkSizes) writeUntilFull(file, Buffer.alloc(size))
  }
  fill()
  const timer = setInterval(fill, topUpMs)
  return {
    free() {
      clearInterval(timer)
      closeSync(file)
      rmSync(ballast, { recursive: true })
    },
  }
}

function writeUntilFull(file: number, chunk: Buffer): void {
  try {
    // What fits is written before the rest is refused.
    while (writeSync(file, chunk) === chunk.length);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  }
}
