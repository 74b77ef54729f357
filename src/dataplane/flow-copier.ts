/** Copies a flow cache on a thread of its own, which lives for one move to another program. */
import type { Worker } from 'node:worker_threads'
import { BalancerError } from '../errors.js'
import { startThread } from '../thread.js'
import type { EntryFormat } from './flow-entry.js'
import { mapped } from './map-handle.js'
import { type HeldSlots, restoreSlots } from './slot-hold.js'

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

/** `held`: what is about to be held, so that it can be given back without the thread. */
export type CopyMessage = CopyAnswer | { readonly held: HeldSlots }

export interface FlowCopier {
  /** Before the move: holds slots, and copies. @returns entries, and how many that matter found no place */
  copy(job: CopyJob): Promise<{ readonly copied: number; readonly lost: number }>
  /**
   * After the move, or without one: slots are as they were, whatever has become of the thread.
   *
   * @returns entries that came meanwhile
   */
  end(isMoved: boolean): Promise<number>
}

export const createFlowCopier = (
  startWorker: () => Worker = () => startThread(import.meta.url, './flow-copy-thread'),
  slotsOf: (fd: number) => Promise<ArrayBuffer> = mapped,
): FlowCopier => {
  let thread: Worker | null = null
  let died: string | null = null
  let settle = (_answer: CopyAnswer): void => {}
  let slotsFd: number | null = null
  let held: HeldSlots | null = null

  const start = (): Worker => {
    const started = startWorker()
    const end = (why: string): void => {
      died ??= why
      settle({ error: died })
    }
    started.on('message', (message: CopyMessage) => {
      if ('held' in message) held = message.held
      else settle(message)
    })
    started.on('error', cause => end(String(cause)))
    started.on('exit', code => end(`its thread has ended with ${code}`))
    return started
  }

  const order = async (what: CopyOrder): Promise<{ readonly copied: number; readonly lost: number }> => {
    thread ??= start()
    const one = thread
    const answer = await new Promise<CopyAnswer>(resolve => {
      settle = resolve
      if (died === null) one.postMessage(what)
      else resolve({ error: died })
    })
    if ('error' in answer)
      throw new BalancerError('ERR_INTERNAL', `the flow cache cannot be copied: ${answer.error}`)
    return answer
  }

  return {
    copy: job => {
      slotsFd = job.held?.slots ?? null
      return order({ kind: 'copy', job })
    },
    end: async isMoved => {
      if (thread === null) return 0
      try {
        return (await order({ kind: isMoved ? 'merge' : 'release' })).copied
      } catch (error) {
        if (slotsFd !== null && held) restoreSlots(await slotsOf(slotsFd), held)
        if (isMoved) throw error
        return 0
      } finally {
        const ended = thread
        thread = null
        await ended.terminate()
      }
    },
  }
}
