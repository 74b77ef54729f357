/** Waits for the end of a drain. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BackendRow } from '../control/protocol.js'
import { BalancerError } from '../errors.js'
import type { Context } from './context.js'

const POLL_MS = 250

const atLeast = ({ flows, flowsAtLeast }: BackendRow): string =>
  flows === null ? 'its flows are not known' : `${flowsAtLeast ? 'at least ' : ''}${flows} flows live`

/**
 * @param waitMs Infinity: as long as it takes
 * @returns the backend's row, once it is out
 * @throws BalancerError `ERR_TIMEOUT`; `ERR_CONFLICT` when it is taken back meanwhile; `ERR_NOT_FOUND` when it is removed
 */
export const waitUntilOut = (
  context: Context,
  service: string,
  backend: string,
  waitMs: number,
): Promise<BackendRow> =>
  context.withClient(async client => {
    const name = `${service}/${backend}`
    const deadline = performance.now() + waitMs
    for (;;) {
      const row = await client.backend.show(service, backend)
      if (row.drain === null)
        throw new BalancerError('ERR_CONFLICT', `${name} is not draining any more: it is ${row.state}`)
      if (row.drain.isOut) return row
      const left = deadline - performance.now()
      if (left <= 0)
        throw new BalancerError(
          'ERR_TIMEOUT',
          `${name} is not out within ${waitMs / 1000} s: ${atLeast(row)}`,
          {
            hint: 'it drains on; linimo backend show tells how far it is',
          },
        )
      await sleep(Math.min(POLL_MS, left))
    }
  })
