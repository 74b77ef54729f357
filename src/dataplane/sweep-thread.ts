/** The thread that sweeps the flow cache, slice by slice. Started by sweeper.ts. */
import { parentPort } from 'node:worker_threads'
import { type MapHandle, openHandle } from './map-handle.js'
import { sweep } from './sweep.js'
import type { SweepAnswer, SweepJob } from './sweeper.js'

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

const answer = async (job: SweepJob): Promise<SweepAnswer> => {
  try {
    const memory = { flowCache: await flowCacheOf(job.flowCache), slots: await slotsOf(job.slots) }
    return sweep(memory, job)
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

parentPort?.on('message', (job: SweepJob) => {
  void answer(job).then(result =>
    parentPort?.postMessage(
      result,
      'error' in result ? [] : [result.flows.buffer as ArrayBuffer, result.exceptions.buffer as ArrayBuffer],
    ),
  )
})
