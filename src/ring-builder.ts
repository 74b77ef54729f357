/** Rings without holding up the event loop: small ones are built at once, large ones on a worker thread. */
import type { Worker } from 'node:worker_threads'
import { BalancerError, type ErrorCode } from './errors.js'
import type { RingAnswer, RingJob } from './ring/worker.js'
import { buildRing, type Claim, type FullRing, type IsDown, refillRing } from './ring.js'
import { startThread } from './thread.js'

/** From so many slots on a ring is built on the worker thread. */
const LARGE_RING_SLOTS = 131072

/** How many rings may wait for the worker; more than that is a caller that never waits for an answer. */
const MAX_WAITING = 1024

/** A job is tried again on another thread when its own dies, but not for ever. */
const MAX_TRIES = 2

export interface BuiltRing<C extends Claim = Claim> {
  /** To be kept, and given to `refill` while claims, weights and size stay the same. */
  readonly full: FullRing<C>
  /** The owner of each slot: an index into `full.claims`; -1: nobody. */
  readonly owners: Int32Array
}

export interface RingBuilder {
  /**
   * Both stages.
   *
   * @param before as for `buildRing`
   * @throws BalancerError as `buildRing`, and `ERR_LIMIT` when too many rings wait
   */
  build<C extends Claim>(
    claims: readonly C[],
    size: number,
    isDown: IsDown<C>,
    before?: FullRing,
  ): Promise<BuiltRing<C>>
  /** The second stage. */
  refill<C extends Claim>(full: FullRing<C>, isDown: IsDown<C>): Promise<Int32Array>
  /** Stops the worker; what it was doing fails with `ERR_INTERNAL`. */
  close(): Promise<void>
}

interface Waiting {
  readonly job: RingJob
  readonly resolve: (answer: Exclude<RingAnswer, { error: unknown }>) => void
  readonly reject: (error: Error) => void
  tries: number
}

export const startRingWorker = (): Worker => startThread(import.meta.url, './ring/worker')

export const createRingBuilder = (startWorker: () => Worker = startRingWorker): RingBuilder => {
  /** The first is what the worker is doing. */
  const queue: Waiting[] = []
  let worker: Worker | null = null

  const give = (): void => {
    const first = queue[0]
    if (!first) {
      worker?.unref()
      return
    }
    first.tries++
    try {
      worker ??= start()
      worker.ref()
      worker.postMessage(first.job)
    } catch (cause) {
      queue.shift()
      first.reject(
        new BalancerError('ERR_INTERNAL', 'the thread that builds rings cannot be asked', { cause }),
      )
      give()
    }
  }

  const start = (): Worker => {
    const started = startWorker()
    started.on('message', (answer: RingAnswer) => {
      const done = queue.shift()
      if ('error' in answer)
        done?.reject(new BalancerError(answer.error.code as ErrorCode, answer.error.message))
      else done?.resolve(answer)
      give()
    })
    let cause: unknown
    started.on('error', error => {
      cause = error
    })
    started.on('exit', () => {
      if (worker !== started) return
      worker = null
      if (queue[0] && queue[0].tries >= MAX_TRIES) {
        const message = 'the thread that builds rings died twice over one ring'
        queue.shift()?.reject(new BalancerError('ERR_INTERNAL', message, { cause }))
      }
      give()
    })
    return started
  }

  const run = (job: RingJob): Promise<Exclude<RingAnswer, { error: unknown }>> => {
    if (queue.length >= MAX_WAITING)
      return Promise.reject(new BalancerError('ERR_LIMIT', `${MAX_WAITING} rings wait to be built already`))
    return new Promise((resolve, reject) => {
      queue.push({ job, resolve, reject, tries: 0 })
      if (queue.length === 1) give()
    })
  }

  return {
    async build(claims, size, isDown, before) {
      if (size < LARGE_RING_SLOTS) {
        const full = buildRing(claims, size, before)
        return { full, owners: refillRing(full, isDown) }
      }
      const { full, owners } = await run({
        claims: plain(claims),
        size,
        full: null,
        down: flags(claims, isDown),
      })
      return { full: { ...full, claims }, owners }
    },
    async refill(full, isDown) {
      if (full.size < LARGE_RING_SLOTS) return refillRing(full, isDown)
      const { claims, size } = full
      const job = { claims: plain(claims), size, full: { ...full, claims: [] }, down: flags(claims, isDown) }
      return (await run(job)).owners
    },
    async close() {
      const stopped = worker
      worker = null
      for (const { reject } of queue.splice(0))
        reject(new BalancerError('ERR_INTERNAL', 'the ring builder was closed'))
      await stopped?.terminate()
    },
  }
}

/** Without whatever else the caller keeps in them, which may be nothing that can be sent. */
const plain = (claims: readonly Claim[]): Claim[] =>
  claims.map(({ identity, weight }) => ({ identity, weight }))

const flags = <C extends Claim>(claims: readonly C[], isDown: IsDown<C>): Uint8Array => {
  const down = new Uint8Array(claims.length)
  claims.forEach((claim, index) => {
    if (isDown(claim, index)) down[index] = 1
  })
  return down
}
