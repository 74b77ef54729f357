/** The worker thread that builds large rings. Started by ring-builder.ts. */
import { parentPort } from 'node:worker_threads'
import { BalancerError } from '../errors.js'
import { buildRing, type Claim, type FullRing, refillRing } from '../ring.js'

/** `full` absent: build it too. `down`: by claim, 1 = down. */
export interface RingJob {
  readonly claims: readonly Claim[]
  readonly size: number
  readonly full: FullRing | null
  readonly down: Uint8Array
}

export type RingAnswer =
  | { readonly full: FullRing; readonly owners: Int32Array }
  | { readonly error: { readonly code: string; readonly message: string } }

/** In shared memory, so that a full ring goes to and fro without being copied. */
const shared = (array: Int32Array): Int32Array => {
  const copy = new Int32Array(new SharedArrayBuffer(array.byteLength))
  copy.set(array)
  return copy
}

const build = (claims: readonly Claim[], size: number): FullRing => {
  const full = buildRing(claims, size)
  return { ...full, claims: [], owners: shared(full.owners) }
}

const answer = ({ claims, size, full: given, down }: RingJob): RingAnswer => {
  try {
    const full = given ?? build(claims, size)
    return { full, owners: refillRing({ ...full, claims }, (_, index) => down[index] === 1) }
  } catch (error) {
    if (error instanceof BalancerError) return { error: { code: error.code, message: error.message } }
    throw error
  }
}

parentPort?.on('message', (job: RingJob) => {
  const result = answer(job)
  parentPort?.postMessage(result, 'owners' in result ? [result.owners.buffer as ArrayBuffer] : [])
})
