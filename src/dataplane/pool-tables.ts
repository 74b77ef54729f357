/** Pools, local addresses and SNAT's prefixes in the data plane's memory: written into maps that no packet reads yet. */
import { addressBytes, addressFamily } from '../address.js'
import { localAddressLayout, poolLayout, prefixLayout } from './layout.js'
import { addressOf, NAT_POOL, type PoolPlan, type PoolRecord } from './pool-plan.js'

/** snat_prefixes of bpf/snat.h. */
const MAX_PREFIXES = 16

const recordsOf = <T>(memory: ArrayBuffer, size: number, decode: (bytes: Uint8Array) => T): T[] =>
  Array.from({ length: Math.floor(memory.byteLength / size) }, (_, i) =>
    decode(new Uint8Array(memory, i * size, size)),
  )

const write = (memory: ArrayBuffer, size: number, at: number, record: Uint8Array): void => {
  const words = new BigUint64Array(memory)
  new BigUint64Array(record.buffer, record.byteOffset, size / 8).forEach((word, i) => {
    const place = (at * size) / 8 + i
    if (words[place] !== word) Atomics.store(words, place, word)
  })
}

const nothing: PoolRecord = { first: 0, count: 0, firstPort: 0, ports: 0, ranges: 0 }

export const writePools = (pools: ArrayBuffer, localAddresses: ArrayBuffer, plan: PoolPlan): void => {
  const count = Math.floor(pools.byteLength / poolLayout.size)
  for (let i = 0; i < count; i++)
    write(pools, poolLayout.size, i, poolLayout.encode(plan.pools.get(i) ?? nothing))
  const places = Math.floor(localAddresses.byteLength / localAddressLayout.size)
  for (let number = 0; number < places; number++) {
    const address = plan.numbers[number] ?? null
    const addr = address === null ? new Uint8Array(16) : addressBytes(address)
    write(localAddresses, localAddressLayout.size, number, localAddressLayout.encode({ addr }))
  }
}

/** What an earlier process left there. @param numbers that there are */
export const readPools = (pools: ArrayBuffer, localAddresses: ArrayBuffer, numbers: number): PoolPlan => {
  const addresses = recordsOf(localAddresses, localAddressLayout.size, bytes =>
    addressOf(localAddressLayout.decode(bytes).addr),
  )
  const records = recordsOf(pools, poolLayout.size, bytes => poolLayout.decode(bytes))
  const found = new Map([...records.entries()].filter(([, { count }]) => count > 0))
  const all = Array.from({ length: numbers }, (_, number) => addresses[number] ?? null)
  const indexes = new Map<string, number>()
  for (const [index, { first, count }] of found)
    for (const address of all.slice(first, first + count))
      if (index !== NAT_POOL && address !== null)
        indexes.set(address, index - (addressFamily(address) === 4 ? 0 : 1))
  return { numbers: all, pools: found, indexes }
}

const maskBytes = (bits: number): Uint8Array =>
  Uint8Array.from({ length: 16 }, (_, i) => 0xff00 >> Math.min(8, Math.max(0, bits - 8 * i)))

/** @param prefixes "10.2.0.0/24" */
export const writeSnatPrefixes = (memory: ArrayBuffer, prefixes: readonly string[]): void => {
  for (let i = 0; i < MAX_PREFIXES; i++) {
    const [address, length] = prefixes[i]?.split('/') ?? []
    const bits = address === undefined ? 0 : Number(length) + (addressFamily(address) === 4 ? 96 : 0)
    // A place that is not in use matches nothing.
    const record =
      address === undefined
        ? { net: new Uint8Array(16).fill(0xff), mask: new Uint8Array(16) }
        : { net: addressBytes(address), mask: maskBytes(bits) }
    write(memory, prefixLayout.size, i, prefixLayout.encode(record))
  }
}

/** What an earlier process left there. */
export const readSnatPrefixes = (memory: ArrayBuffer, count: number): readonly string[] =>
  recordsOf(memory, prefixLayout.size, bytes => prefixLayout.decode(bytes))
    .slice(0, count)
    .map(({ net, mask }) => {
      const address = addressOf(net) ?? '::'
      const bits = mask.reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0)
      return `${address}/${bits - (addressFamily(address) === 4 ? 96 : 0)}`
    })
