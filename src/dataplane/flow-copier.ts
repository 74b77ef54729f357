/** Copies a flow cache on a thread of its own, which lives for one move to another program. */
import type { Worker } from 'node:worker_threads'
import { BalancerError } from '../errors.js'
import { startThread } from '../thread.js'
import type { EntryFormat } from './flow-entry.js'

/** Maps by their descriptors in this process. */
export interface CopyJob {
  readonly from: { readonly fd: number; readonly format: EntryFormat }
  readonly to: number
  /** See CopyOptions. */
  readonly tail: number
  /** The slots that the first program reads, in this build's words, and where its backends' flags lie; null: not known. */
  readonly held: {
    readonly slots: number
    readonly backends: { readonly fd: number; readonly stride: number; readonly offset: number }
  } | null
  /** What tells which entries matter, laid out as this build does it, and the flow clock; null: all of them do. */
  readonly tables: {
    readonly services: number
    readonly backends: number
    readonly slots: number
    readonly now: number
  } | null
}

export type CopyOrder =
  | { readonly kind: 'copy'; readonly job: CopyJob }
  | { readonly kind: 'merge' }
  | { readonly kind: 'release' }

export type CopyAnswer = { readonly copied: number; readonly lost: number } | { readonly error: string }

export interface FlowCopier {
  /** Before the move: holds slots, and copies. @returns entries, and how many that matter found no place */
  copy(job: CopyJob): Promise<{ readonly copied: number; readonly lost: number }>
  /** After the move, or without one: slots are as they were. @returns entries that came meanwhile */
  end(isMoved: boolean): Promise<number>
}

export const createFlowCopier = (): FlowCopier => {
  let thread: Worker | null = null

  const order = async (what: CopyOrder): Promise<{ readonly copied: number; readonly lost: number }> => {
    thread ??= startThread(import.meta.url, './flow-copy-thread')
    const one = thread
    const answer = await new Promise<CopyAnswer>(resolve => {
      one.once('message', resolve)
      one.once('error', cause => resolve({ error: String(cause) }))
      one.once('exit', code => resolve({ error: `its thread has ended with ${code}` }))
      one.postMessage(what)
    })
    if ('error' in answer)
      throw new BalancerError('ERR_INTERNAL', `the flow cache cannot be copied: ${answer.error}`)
    return answer
  }

  return {
    copy: job => order({ kind: 'copy', job }),
    end: async isMoved => {
      if (thread === null) return 0
      try {
        return (await order({ kind: isMoved ? 'merge' : 'release' })).copied
      } finally {
        const ended = thread
        thread = null
        await ended?.terminate()
      }
    },
  }
}
