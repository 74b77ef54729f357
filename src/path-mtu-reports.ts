/** The data plane's notes of what routers say of tunnels' paths, as src/path-mtu.ts takes them. */
import { addressBytes, addressText } from './address.js'
import type { Dataplane } from './dataplane/dataplane.js'
import { pathMtuLayout } from './dataplane/layout.js'
import type { PathMtuReport, PathMtuReports } from './path-mtu.js'

const KEY_SIZE = 16

export interface PathMtuReportsOptions {
  readonly dataplane: Pick<Dataplane, 'pathMtus' | 'jiffies'>
  /** Nanoseconds of a jiffy. */
  readonly tickNs: number
  /** Milliseconds, monotonic. */
  readonly now: () => number
}

/** They are stamped by jiffies; the clock here is theirs, in milliseconds. */
export const openPathMtuReports = ({ dataplane, tickNs, now }: PathMtuReportsOptions): PathMtuReports => {
  const msOf = (jiffies: bigint): number => (Number(jiffies) * tickNs) / 1e6
  const ahead = msOf(dataplane.jiffies()) - now()

  const reportOf = (key: Uint8Array, value: Uint8Array): PathMtuReport => {
    const { mtu, heard } = pathMtuLayout.decode(value)
    return { address: addressText(key), mtu, heardMs: msOf(heard) }
  }

  return {
    read: async () => {
      const { count, keys, values } = await dataplane.pathMtus.lookupBatch()
      const rows = Array.from({ length: count }, (_, i) =>
        reportOf(
          keys.subarray(i * KEY_SIZE, (i + 1) * KEY_SIZE),
          values.subarray(i * pathMtuLayout.size, (i + 1) * pathMtuLayout.size),
        ),
      )
      // A map that is written meanwhile may hand out entries twice.
      return [...new Map(rows.map(row => [row.address, row])).values()]
    },
    remove: address => {
      try {
        dataplane.pathMtus.delete(addressBytes(address))
      } catch (cause) {
        // Others were in need of its place.
        if ((cause as { code?: string }).code !== 'ENOENT') throw cause
      }
    },
    now: () => ahead + now(),
  }
}
