/** Sweeps of the flow cache on a thread of their own: the event loop goes on meanwhile. */
import type { Worker } from 'node:worker_threads'
import { BalancerError } from '../errors.js'
import { startThread } from '../thread.js'
import type { MapHandle } from './map-handle.js'
import type { SweepRequest, SweepResult } from './sweep.js'

export interface SweepJob extends SweepRequest {
  readonly flowCache: MapHandle
  readonly slots: MapHandle
}

export type SweepAnswer = SweepResult | { readonly error: string }

export interface Sweeper {
  /** One whole sweep; one at a time. @throws BalancerError `ERR_INTERNAL` when the thread has died */
  sweep(job: SweepJob): Promise<SweepResult>
  close(): Promise<void>
}

export const createSweeper = (): Sweeper => {
  let thread: Worker | null = null
  let reject: ((cause: Error) => void) | null = null

  const died = (cause: unknown): void => {
    thread = null
    reject?.(new BalancerError('ERR_INTERNAL', 'the thread that sweeps the flow cache has died', { cause }))
  }

  return {
    sweep: job =>
      new Promise((resolve, fail) => {
        if (thread === null) {
          const started = startThread(import.meta.url, './sweep-thread')
          started.on('error', died)
          started.on('exit', code => {
            if (thread === started) died(new Error(`exit code ${code}`))
          })
          started.unref()
          thread = started
        }
        reject = fail
        thread.once('message', (answer: SweepAnswer) => {
          reject = null
          if ('error' in answer)
            fail(new BalancerError('ERR_INTERNAL', `the flow cache cannot be swept: ${answer.error}`))
          else resolve(answer)
        })
        thread.postMessage(job)
      }),
    close: async () => {
      const stopped = thread
      thread = null
      reject?.(new BalancerError('ERR_INTERNAL', 'the sweeper was closed'))
      await stopped?.terminate()
    },
  }
}
