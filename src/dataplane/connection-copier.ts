/** Copies connections on a thread of its own, which lives for one move to another program. */
import type { Worker } from 'node:worker_threads'
import { BalancerError } from '../errors.js'
import { startThread } from '../thread.js'
import type { ConnectionsCopied } from './connection-copy.js'

/** As ConnectionCopy; maps by their descriptors in this process. */
export interface ConnectionJob {
  readonly from: number
  /** null: it is the same map. */
  readonly to: number | null
  readonly index: number | null
  readonly numbers: Int32Array
  readonly keys: readonly bigint[]
  readonly backends: number
  readonly now: number
}

export type ConnectionOrder =
  | { readonly kind: 'copy'; readonly job: ConnectionJob }
  | { readonly kind: 'merge' }
export type ConnectionAnswer = ConnectionsCopied | { readonly error: string }

export interface ConnectionCopier {
  /** Before the move. */
  copy(job: ConnectionJob): Promise<ConnectionsCopied>
  /** After it: what came meanwhile. */
  merge(): Promise<ConnectionsCopied>
  close(): Promise<void>
}

export const createConnectionCopier = (): ConnectionCopier => {
  let thread: Worker | null = null
  let died: string | null = null
  let settle = (_answer: ConnectionAnswer): void => {}

  const start = (): Worker => {
    const started = startThread(import.meta.url, './connection-copy-thread')
    const end = (why: string): void => {
      died ??= why
      settle({ error: died })
    }
    started.on('message', (answer: ConnectionAnswer) => settle(answer))
    started.on('error', cause => end(String(cause)))
    started.on('exit', code => end(`its thread has ended with ${code}`))
    return started
  }

  const order = async (what: ConnectionOrder): Promise<ConnectionsCopied> => {
    thread ??= start()
    const one = thread
    const answer = await new Promise<ConnectionAnswer>(resolve => {
      settle = resolve
      if (died === null) one.postMessage(what)
      else resolve({ error: died })
    })
    if ('error' in answer)
      throw new BalancerError('ERR_INTERNAL', `the connections cannot be copied: ${answer.error}`)
    return answer
  }

  return {
    copy: job => order({ kind: 'copy', job }),
    merge: async () => (thread === null ? { copied: 0, lost: 0 } : order({ kind: 'merge' })),
    close: async () => {
      const ended = thread
      thread = null
      await ended?.terminate()
    },
  }
}
