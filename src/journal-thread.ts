/** The thread that makes journals durable. Started by journal-writer.ts. */
import { parentPort } from 'node:worker_threads'
import { encodeChecked, replaceFileSync } from './journal-file.js'
import type { WriteAnswer, WriteJob } from './journal-writer.js'

const answer = ({ path, format, body, mode }: WriteJob): WriteAnswer => {
  try {
    replaceFileSync(path, encodeChecked(format, body), mode)
    return { error: null }
  } catch (cause) {
    return { error: (cause as { code?: string }).code ?? String(cause) }
  }
}

parentPort?.on('message', (job: WriteJob) => parentPort?.postMessage(answer(job)))
