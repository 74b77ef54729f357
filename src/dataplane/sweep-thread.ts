/** The thread that sweeps the flow cache, slice by slice. Started by sweeper.ts. */
import { parentPort } from 'node:worker_threads'
import { loadNative } from '../native.js'
import { sweep } from './sweep.js'
import type { SweepAnswer, SweepJob } from './sweeper.js'

/** Mapped for one sweep only: the maps may be others the next time. */
const mapped = async (fd: number): Promise<ArrayBuffer> => {
  const map = loadNative().BpfMap.fromFd(fd)
  try {
    return await map.mmap()
  } finally {
    map.close()
  }
}

const answer = async (job: SweepJob): Promise<SweepAnswer> => {
  try {
    const memory = { flowCache: await mapped(job.flowCacheFd), slots: await mapped(job.slotsFd) }
    return sweep(memory, job)
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

parentPort?.on('message', (job: SweepJob) => {
  void answer(job).then(result => parentPort?.postMessage(result))
})
