/** Sweeps of the flow cache and of the connections on a thread of their own: the event loop goes on meanwhile. */
import type { Worker } from 'node:worker_threads'
import { BalancerError } from '../errors.js'
import { startThread } from '../thread.js'
import type { ConnectionRequest, ConnectionsFound } from './connection-sweep.js'
import type { MapHandle } from './map-handle.js'
import type { SweepRequest, SweepResult } from './sweep.js'

export interface SweepJob extends SweepRequest {
  readonly flowCache: MapHandle
  readonly slots: MapHandle
}

export interface ConnectionJob extends ConnectionRequest {
  readonly connections: MapHandle
}

export type SweepAnswer = SweepResult | ConnectionsFound | { readonly error: string }

export interface Sweeper {
  /** As `sweep`, of the connections. */
  sweepConnections(job: ConnectionJob): Promise<ConnectionsFound>
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

  const ask = <T extends SweepResult | ConnectionsFound>(job: SweepJob | ConnectionJob, what: string) =>
    new Promise<T>((resolve, fail) => {
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
          fail(new BalancerError('ERR_INTERNAL', `${what} cannot be swept: ${answer.error}`))
        else resolve(answer as T)
      })
      thread.postMessage(job)
    })

  return {
    sweep: job => ask<SweepResult>(job, 'the flow cache'),
    sweepConnections: job => ask<ConnectionsFound>(job, 'the connections'),
    close: async () => {
      const stopped = thread
      thread = null
      reject?.(new BalancerError('ERR_INTERNAL', 'the sweeper was closed'))
      await stopped?.terminate()
    },
  }
}
