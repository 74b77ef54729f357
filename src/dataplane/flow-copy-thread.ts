/** The thread that copies a flow cache, and holds slots meanwhile. Started by flow-copier.ts. */
import { parentPort } from 'node:worker_threads'
import { ageOf } from './flow-clock.js'
import type { CopyAnswer, CopyJob, CopyMessage, CopyOrder } from './flow-copier.js'
import { type CopyOptions, copyFlows, mergeFlows } from './flow-copy.js'
import type { Entry } from './flow-entry.js'
import { backendLayout, flowClass, serviceLayout, serviceState } from './layout.js'
import { mapped } from './map-handle.js'
import { currentOf, homeOf, K, stateOf, U } from './slot.js'
import { type HeldSlots, holdSlots, restoreSlots, slotsToHold } from './slot-hold.js'
import { slotMemory } from './slots.js'
import { SHORT_UNITS, slotOfEntry } from './sweep.js'

/** By what the tables say: a live entry that its slot would not answer for. */
const exceptionsBy = async ({ services, backends, slots, now }: NonNullable<CopyJob['tables']>) => {
  const [serviceBytes, backendBytes] = [
    new Uint8Array(await mapped(services)),
    new Uint8Array(await mapped(backends)),
  ]
  const words = slotMemory(await mapped(slots))
  const rings = new Map<number, { readonly base: number; readonly size: number }>()
  for (let at = 0; at < serviceBytes.length; at += serviceLayout.size) {
    const { state, id, ringBase, ringSize } = serviceLayout.decode(serviceBytes, at)
    if (state === serviceState.SERVICE_USED) rings.set(id, { base: ringBase, size: ringSize })
  }
  return ({ id, kind, seen, print }: Entry, bucket: number, bits: number): boolean => {
    if ((id + 1) * backendLayout.size > backendBytes.length) return false
    const { service, idle } = backendLayout.decode(backendBytes, id * backendLayout.size)
    const ring = rings.get(service)
    if (!ring || ageOf(seen, now) > (kind === flowClass.FLOW_OPEN ? idle : Math.min(SHORT_UNITS, idle)))
      return false
    const word = words.read(ring.base + slotOfEntry(bucket, print, bits, ring.size))
    const state = stateOf(word)
    return state !== U && id !== (state === K ? currentOf(word) : homeOf(word))
  }
}

const flagsBy = async ({ fd, stride, offset }: NonNullable<CopyJob['held']>['backends']) => {
  const bytes = new Uint8Array(await mapped(fd))
  return (id: number): number => bytes[id * stride + offset] ?? 0
}

let options: CopyOptions | null = null
let shadow: Uint32Array | null = null
let hold: { readonly memory: ArrayBuffer; readonly slots: HeldSlots } | null = null

const restore = (): void => {
  if (hold) restoreSlots(hold.memory, hold.slots)
  hold = null
}

const copy = async ({ from, to, tail, held, tables }: CopyJob): Promise<CopyAnswer> => {
  const isException = tables ? await exceptionsBy(tables) : () => true
  if (held) {
    const memory = await mapped(held.slots)
    hold = { memory, slots: slotsToHold(memory, await flagsBy(held.backends)) }
    // Known elsewhere before they are written: this thread may die.
    parentPort?.postMessage({ held: hold.slots } satisfies CopyMessage)
    holdSlots(memory, hold.slots)
  }
  options = {
    from: { memory: await mapped(from.fd), format: from.format },
    to: await mapped(to),
    tail,
    isException,
  }
  const { copied, lost, shadow: read } = copyFlows(options)
  shadow = read
  return { copied, lost }
}

const answer = async (order: CopyOrder): Promise<CopyAnswer> => {
  try {
    if (order.kind === 'copy') return await copy(order.job)
    const copied = order.kind === 'merge' && options && shadow ? mergeFlows(options, shadow) : 0
    restore()
    return { copied, lost: 0 }
  } catch (error) {
    restore()
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

parentPort?.on('message', (order: CopyOrder) => {
  void answer(order).then(result => parentPort?.postMessage(result))
})
