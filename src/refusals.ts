/** A size of the flow cache that was refused: said in the log, and tried again. */
import type { Refusal } from './dataplane/growth.js'
import type { Clock } from './health/clock.js'
import type { Log } from './log.js'

/** Timers may be early. */
const SLACK_MS = 1000

export interface Refusals {
  refused(refusal: Refusal): void
  close(): void
}

/** @param again brings the configuration into effect once more */
export const createRefusals = (clock: Pick<Clock, 'after'>, log: Log, again: () => void): Refusals => {
  let cancel = (): void => {}
  return {
    refused: ({ flows, reason, isNew, retryMs }) => {
      log[isNew ? 'warn' : 'debug'](
        { event: 'flows.refused', flows, reason },
        'the flow cache keeps its size, and is given the other one when that has room',
      )
      cancel()
      cancel = clock.after(retryMs + SLACK_MS, again)
    },
    close: () => cancel(),
  }
}
