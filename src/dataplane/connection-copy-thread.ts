/** The thread that copies connections. Started by connection-copier.ts. */
import { parentPort } from 'node:worker_threads'
import type { ConnectionAnswer, ConnectionJob, ConnectionOrder } from './connection-copier.js'
import { createConnectionCopy } from './connection-copy.js'
import { mapped } from './map-handle.js'

let copying: ReturnType<typeof createConnectionCopy> | null = null

const begin = async (job: ConnectionJob): Promise<ConnectionAnswer> => {
  const from = await mapped(job.from)
  copying = createConnectionCopy({
    ...job,
    from,
    to: job.to === null ? from : await mapped(job.to),
    index: job.index === null ? null : await mapped(job.index),
    backends: await mapped(job.backends),
  })
  return copying.copy()
}

const answer = async (order: ConnectionOrder): Promise<ConnectionAnswer> => {
  try {
    if (order.kind === 'copy') return await begin(order.job)
    return copying ? copying.merge() : { copied: 0, lost: 0 }
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

parentPort?.on('message', (order: ConnectionOrder) => {
  void answer(order).then(result => parentPort?.postMessage(result))
})
