/** How many packets each backend had in the last minute, from samples of its counter. */

/** Packets so far, by backendKey. */
export type PacketSample = ReadonlyMap<string, number>

export interface PacketMinute {
  /** The counters as they are. */
  add(sample: PacketSample): void
  /** Packets of a backend in the last minute, or since the first sample where that is younger. */
  packets(key: string): number
}

const MINUTE_MS = 60_000

/** @param now milliseconds, monotonic */
export const createPacketMinute = (now: () => number): PacketMinute => {
  let samples: { readonly atMs: number; readonly sample: PacketSample }[] = []

  return {
    add: sample => {
      const atMs = now()
      // Of those that are older than a minute, the youngest is what the minute is counted from.
      const isRecent = ({ atMs: then }: { atMs: number }): boolean => atMs - then <= MINUTE_MS
      const from = Math.max(0, samples.findIndex(isRecent) - 1)
      samples = samples.some(isRecent) ? samples.slice(from) : samples.slice(-1)
      samples.push({ atMs, sample })
    },
    packets: key => {
      const last = samples.at(-1)?.sample.get(key) ?? 0
      const first = samples[0]?.sample.get(key) ?? 0
      // A counter that went back is another backend's, which has the same address.
      return last >= first ? last - first : last
    },
  }
}
