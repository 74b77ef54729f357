/**
 * Journals are made durable on a thread of their own, one for the whole process: the disk and the event loop, which
 * brings the same change into effect, work side by side.
 */
import type { Worker } from 'node:worker_threads'
import type { CheckedFormat } from './journal-file.js'
import { startThread } from './thread.js'

export interface WriteJob {
  readonly path: string
  readonly format: CheckedFormat
  readonly body: string
  readonly mode: number
}

/** `error`: the system's code, such as ENOSPC, or what happened in words; null: it is on the disk. */
export interface WriteAnswer {
  readonly error: string | null
}

export interface JournalWriter {
  /** Starts the thread, so that the first write need not wait for it. */
  start(): void
  /** Replaces a checked file, atomically and durably; jobs are done one after the other. Never rejects. */
  write(job: WriteJob): Promise<WriteAnswer>
  /** What is under way fails, and no file is replaced any more, even if the disk answers later. Resolves when it cannot. */
  giveUp(): Promise<void>
}

export const createJournalWriter = (
  startWorker: () => Worker = () => startThread(import.meta.url, './journal-thread'),
): JournalWriter => {
  /** In the order in which the thread answers. */
  const waiting: ((answer: WriteAnswer) => void)[] = []
  let thread: Worker | null = null
  /** The last thread that was given up. */
  let ended = Promise.resolve()

  const start = (): Worker => {
    const started = startWorker()
    let cause = 'the thread that writes it has ended'
    started.on('message', (answer: WriteAnswer) => {
      if (thread !== started) return
      waiting.shift()?.(answer)
      if (waiting.length === 0) started.unref()
    })
    started.on('error', error => {
      cause = String(error)
    })
    started.on('exit', () => {
      if (thread !== started) return
      thread = null
      for (const settle of waiting.splice(0)) settle({ error: cause })
    })
    started.unref()
    return started
  }

  return {
    start: () => {
      thread ??= start()
    },
    write: job =>
      new Promise(resolve => {
        thread ??= start()
        thread.ref() // a process that ends waits for what it has begun
        waiting.push(resolve)
        thread.postMessage(job)
      }),
    giveUp: () => {
      const given = thread
      thread = null
      for (const settle of waiting.splice(0)) settle({ error: 'given up' })
      given?.unref()
      if (given) ended = given.terminate().then(() => undefined)
      return ended
    },
  }
}

export const journalWriter = createJournalWriter()
