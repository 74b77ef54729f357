/** The thread that sweeps the flow cache, slice by slice, and the connections. Started by sweeper.ts. */
import { parentPort } from 'node:worker_threads'
import { sweepConnections } from './connection-sweep.js'
import { type MapHandle, openHandle } from './map-handle.js'
import { sweep } from './sweep.js'
import type { ConnectionJob, SweepAnswer, SweepJob } from './sweeper.js'

/** Mapped once, for as long as the data plane has the same map: mapping 128 MB takes as long as sweeping them. */
const mapping = (): ((handle: MapHandle) => Promise<ArrayBuffer>) => {
  let known: { readonly id: number; readonly memory: ArrayBuffer } | null = null
  return async handle => {
    const { id } = handle
    if (known?.id === id) return known.memory
    const map = openHandle(handle)
    try {
      known = null
      known = { id, memory: await map.mmap() }
      return known.memory
    } finally {
      map.close()
    }
  }
}
const flowCacheOf = mapping()
const slotsOf = mapping()

const connectionsOf = mapping()

const answer = async (job: SweepJob | ConnectionJob): Promise<SweepAnswer> => {
  try {
    if ('connections' in job) return sweepConnections(await connectionsOf(job.connections), job)
    const memory = { flowCache: await flowCacheOf(job.flowCache), slots: await slotsOf(job.slots) }
    return sweep(memory, job)
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

/** What need not be copied. */
const buffersOf = (result: SweepAnswer): ArrayBuffer[] => {
  if ('error' in result) return []
  const arrays = 'flows' in result ? [result.flows, result.exceptions] : [result.byBackend, result.byNumber]
  return arrays.map(({ buffer }) => buffer as ArrayBuffer)
}

parentPort?.on('message', (job: SweepJob | ConnectionJob) => {
  void answer(job).then(result => parentPort?.postMessage(result, buffersOf(result)))
})
