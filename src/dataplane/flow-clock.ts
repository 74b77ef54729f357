/** The flow clock: what stamps the flow cache's entries, kept by the data plane from jiffies and here by the same rule. */
import { flowLayout } from './layout.js'

export const SECONDS_PER_UNIT = flowLayout.FLOW_SECONDS_PER_UNIT
const UNITS = 2 ** flowLayout.FLOW_SEEN_BITS

/** config.clock_scale: units = jiffies * scale >> 32. @param tickNs nanoseconds of a jiffy */
export const clockScale = (tickNs: number): bigint =>
  BigInt(Math.round((2 ** 32 * tickNs) / (SECONDS_PER_UNIT * 1e9)))

/** A time in units of the flow clock, for the service's idle time; at least one. */
export const unitsOf = (ms: number): number => Math.max(1, Math.ceil(ms / 1000 / SECONDS_PER_UNIT))

/**
 * The clock's reading now.
 *
 * @param jiffies as read at `readAtMs` of the same monotonic clock as `now`
 */
export const createFlowClock = (
  jiffies: bigint,
  readAtMs: number,
  tickNs: number,
  now: () => number,
): (() => number) => {
  const scale = clockScale(tickNs)
  return () => {
    const passed = BigInt(Math.round(((now() - readAtMs) * 1e6) / tickNs))
    return Number((((jiffies + passed) * scale) >> 32n) & BigInt(UNITS - 1))
  }
}

/** Units since a stamp; a stamp from the near future counts as now (age_of() of bpf/flow_cache.h). */
export const ageOf = (seen: number, now: number): number =>
  Math.max(0, ((now - seen + 64) & (UNITS - 1)) - 64)
