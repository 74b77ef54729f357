/** The interfaces that traffic enters by, in the data plane's memory. */
import { interfaceLayout } from './layout.js'

export interface EntryInterface {
  readonly ifindex: number
  readonly mac: Uint8Array
  /** Bytes of an IP packet: a longer frame was merged from several. */
  readonly mtu: number
  /** Its own addresses, which ICMP errors of a router come from; 0 and zeros: none. */
  readonly addr4?: number
  readonly addr6?: Uint8Array
}

/** A width of the table, a power of two times `width`, at which no two of them meet. */
export const widthFor = (interfaces: readonly EntryInterface[], width: number): number => {
  let wide = width
  while (new Set(interfaces.map(({ ifindex }) => ifindex % wide)).size !== interfaces.length) wide *= 2
  return wide
}

const nothing = { ifindex: 0, mac: new Uint8Array(6), mtu: 0, addr4: 0, addr6: new Uint8Array(16) }

export const writeInterfaces = (memory: ArrayBuffer, interfaces: readonly EntryInterface[]): void => {
  const words = new BigUint64Array(memory)
  const width = interfaceLayout.size / 8
  const buckets = words.length / width
  const byBucket = new Map(interfaces.map(one => [one.ifindex % buckets, one]))
  for (let bucket = 0; bucket < buckets; bucket++) {
    const record = interfaceLayout.encode({ ...nothing, ...byBucket.get(bucket) })
    new BigUint64Array(record.buffer).forEach((word, i) => {
      if (words[bucket * width + i] !== word) Atomics.store(words, bucket * width + i, word)
    })
  }
}

/** What an earlier process has left there. */
export const readInterfaces = (memory: ArrayBuffer): EntryInterface[] =>
  Array.from({ length: memory.byteLength / interfaceLayout.size }, (_, bucket) =>
    interfaceLayout.decode(new Uint8Array(memory, bucket * interfaceLayout.size, interfaceLayout.size)),
  )
    .filter(({ ifindex }) => ifindex !== 0)
    .map(({ ifindex, mac, mtu, addr4, addr6 }) => ({
      ifindex,
      mac: Uint8Array.from(mac),
      mtu,
      addr4,
      addr6: Uint8Array.from(addr6),
    }))
