/** Per-CPU counters summed over the CPUs, in user space. */
import { backendCountLayout, replyCountLayout } from './layout.js'

export interface Traffic {
  readonly packets: bigint
  readonly bytes: bigint
}

/** By the interface that packets came in by, and by another one. */
export interface Sent {
  readonly tx: Traffic
  readonly redirect: Traffic
}

export interface BackendCount extends Sent {
  readonly syns: bigint
  /** Its packets that were translated back. */
  readonly replies: Sent
}

/** Sums over the CPUs, row by row: a row that never counted costs nothing. */
export interface Sums {
  readonly rows: number
  /** The rows in which something was counted. */
  used(): number[]
  /** A row's words, summed. */
  row(index: number): readonly bigint[]
}

/**
 * @param values rows of `size` bytes of u64 (a multiple of 8), the CPUs' values after one another in each row
 */
export const sumOverCpus = (values: Uint8Array, size: number, cpus: number): Sums => {
  const aligned = values.byteOffset % 8 === 0 ? values : values.slice()
  const raw = new BigUint64Array(aligned.buffer, aligned.byteOffset, aligned.length >> 3)
  const halves = new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length >> 2)
  const words = size / 8
  const width = words * cpus
  const rows = raw.length / width
  /** Most rows of a table are of nobody: this loop is what reading them takes. */
  const used = (): number[] => {
    const found: number[] = []
    for (let row = 0, i = 0; row < rows; row++) {
      let any = 0
      for (const end = i + 2 * width; i < end; i++) any |= halves[i]!
      if (any !== 0) found.push(row)
    }
    return found
  }
  return {
    rows,
    used,
    row: index => {
      const sums = Array.from({ length: words }, () => 0n)
      for (let i = 0; i < width; i++) sums[i % words]! += raw[index * width + i] ?? 0n
      return sums
    },
  }
}

export const trafficFrom = ([packets = 0n, bytes = 0n]: readonly bigint[]): Traffic => ({ packets, bytes })

export const backendCountFrom = (words: readonly bigint[]): BackendCount => {
  const word = (field: keyof typeof backendCountLayout.fields): bigint =>
    words[backendCountLayout.fields[field].offset / 8] ?? 0n
  return {
    tx: { packets: word('txPackets'), bytes: word('txBytes') },
    redirect: { packets: word('redirectPackets'), bytes: word('redirectBytes') },
    syns: word('syns'),
    replies: noneSent,
  }
}

export const sentFrom = (words: readonly bigint[]): Sent => {
  const word = (field: keyof typeof replyCountLayout.fields): bigint =>
    words[replyCountLayout.fields[field].offset / 8] ?? 0n
  return {
    tx: { packets: word('txPackets'), bytes: word('txBytes') },
    redirect: { packets: word('redirectPackets'), bytes: word('redirectBytes') },
  }
}

export const addTraffic = (a: Traffic, b: Traffic): Traffic => ({
  packets: a.packets + b.packets,
  bytes: a.bytes + b.bytes,
})

export const noTraffic: Traffic = { packets: 0n, bytes: 0n }
export const noneSent: Sent = { tx: noTraffic, redirect: noTraffic }
export const noCount: BackendCount = { ...noneSent, syns: 0n, replies: noneSent }

export const addSent = (a: Sent, b: Sent): Sent => ({
  tx: addTraffic(a.tx, b.tx),
  redirect: addTraffic(a.redirect, b.redirect),
})

export const addCounts = (a: BackendCount, b: BackendCount): BackendCount => ({
  ...addSent(a, b),
  syns: a.syns + b.syns,
  replies: addSent(a.replies, b.replies),
})
