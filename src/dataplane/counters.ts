/** Per-CPU counters summed over the CPUs, in user space. */
import { backendCountLayout, trafficLayout } from './layout.js'

export interface Traffic {
  readonly packets: bigint
  readonly bytes: bigint
}

export interface BackendCount {
  readonly tx: Traffic
  readonly redirect: Traffic
  readonly syns: bigint
}

/**
 * Rows of `size` bytes (a multiple of 8) of u64, `cpus` values after one another for each row.
 *
 * @returns the sums, `size / 8` of them a row
 */
export const sumOverCpus = (values: Uint8Array, size: number, cpus: number): BigUint64Array => {
  const words = size / 8
  const raw = new BigUint64Array(values.slice().buffer)
  const rows = raw.length / (words * cpus)
  const sums = new BigUint64Array(rows * words)
  for (let row = 0; row < rows; row++)
    for (let cpu = 0; cpu < cpus; cpu++)
      for (let word = 0; word < words; word++) {
        const value = raw[(row * cpus + cpu) * words + word]!
        if (value !== 0n) sums[row * words + word]! += value
      }
  return sums
}

export const trafficAt = (sums: BigUint64Array, row: number): Traffic => {
  const at = (row * trafficLayout.size) / 8
  return { packets: sums[at] ?? 0n, bytes: sums[at + 1] ?? 0n }
}

export const backendCountAt = (sums: BigUint64Array, row: number): BackendCount => {
  const at = (row * backendCountLayout.size) / 8
  const word = (field: keyof typeof backendCountLayout.fields): bigint =>
    sums[at + backendCountLayout.fields[field].offset / 8] ?? 0n
  return {
    tx: { packets: word('txPackets'), bytes: word('txBytes') },
    redirect: { packets: word('redirectPackets'), bytes: word('redirectBytes') },
    syns: word('syns'),
  }
}

export const addTraffic = (a: Traffic, b: Traffic): Traffic => ({
  packets: a.packets + b.packets,
  bytes: a.bytes + b.bytes,
})

export const noTraffic: Traffic = { packets: 0n, bytes: 0n }
export const noCount: BackendCount = { tx: noTraffic, redirect: noTraffic, syns: 0n }

export const addCounts = (a: BackendCount, b: BackendCount): BackendCount => ({
  tx: addTraffic(a.tx, b.tx),
  redirect: addTraffic(a.redirect, b.redirect),
  syns: a.syns + b.syns,
})

const minusTraffic = (a: Traffic, b: Traffic): Traffic => ({
  packets: a.packets - b.packets,
  bytes: a.bytes - b.bytes,
})

export const minusCounts = (a: BackendCount, b: BackendCount): BackendCount => ({
  tx: minusTraffic(a.tx, b.tx),
  redirect: minusTraffic(a.redirect, b.redirect),
  syns: a.syns - b.syns,
})
