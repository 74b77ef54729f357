/** The connection clock, in seconds: what connections expire by, kept by the data plane from jiffies and here by the same rule. */
import { clockScale } from './flow-clock.js'

const MASK = 2n ** 32n - 1n

/**
 * The clock's reading now: (u32)(jiffies * config.clock_scale >> 30).
 *
 * @param jiffies as read at `readAtMs` of the same monotonic clock as `now`
 * @param tickNs  nanoseconds of a jiffy
 */
export const createConnectionClock = (
  jiffies: bigint,
  readAtMs: number,
  tickNs: number,
  now: () => number,
): (() => number) => {
  const scale = clockScale(tickNs)
  return () => {
    const passed = BigInt(Math.round(((now() - readAtMs) * 1e6) / tickNs))
    return Number((((jiffies + passed) * scale) >> 30n) & MASK)
  }
}

/** The same, of a jiffy. @param tickNs nanoseconds of one */
export const connectionTime = (jiffies: bigint, tickNs: number): number =>
  Number(((jiffies * clockScale(tickNs)) >> 30n) & MASK)
