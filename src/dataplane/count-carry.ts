/**
 * Counters that go on in another map: what the first map holds is there before anybody counts in the second, and what it
 * has counted since is added when nobody counts in it any more.
 */
import { type BpfMap, loadNative } from '../native.js'
import type { FoundMap } from './generation.js'
import { valueSizes } from './load.js'
import { u32 } from './map-key.js'
import { ofCounts } from './map-layout.js'

export const countNames = [
  'backend_counts',
  'service_counts',
  'verdicts',
  'flow_counts',
  'reply_counts',
  'pool_counts',
] as const
export type CountName = (typeof countNames)[number]

export interface CountCarry {
  /** Adds what the first map has counted since. */
  again(): Promise<void>
}

const wordsOf = (bytes: Uint8Array): BigUint64Array<ArrayBuffer> => new BigUint64Array(bytes.slice().buffer)

/**
 * @param rowOf where a row of the first map goes on
 */
export const carryCounts = async (
  name: CountName,
  { map: from, layout }: FoundMap,
  to: BpfMap,
  rowOf: (row: number) => number,
): Promise<CountCarry> => {
  const cpus = loadNative().possibleCpus
  const [width, size] = [Math.ceil(layout.size / 8), valueSizes[name] / 8]
  /** By word of the second map's rows: the first map's. */
  const places = Object.entries(ofCounts[name].fields).flatMap(([field, { offset }]) => {
    const was = layout.fields.get(field)
    return was?.width === 8 ? [[offset / 8, was.offset / 8] as const] : []
  })
  let before = new BigUint64Array(from.info.maxEntries * width * cpus)

  const isSame = (a: BigUint64Array, b: BigUint64Array, begin: number, end: number): boolean => {
    const [x, y] = [
      new Uint32Array(a.buffer, begin * 8, (end - begin) * 2),
      new Uint32Array(b.buffer, begin * 8),
    ]
    return x.every((half, i) => half === y[i])
  }
  const read = async (): Promise<BigUint64Array<ArrayBuffer>> => wordsOf((await from.lookupBatch()).values)
  /** The rows in which words differ from those of the last time, in the second map's words. */
  const differences = (now: BigUint64Array<ArrayBuffer>): Map<number, BigUint64Array> => {
    const rows = new Map<number, BigUint64Array>()
    const span = width * cpus
    for (let row = 0; row * span < now.length; row++) {
      if (isSame(now, before, row * span, (row + 1) * span)) continue
      const words = new BigUint64Array(size * cpus)
      for (let cpu = 0; cpu < cpus; cpu++)
        for (const [word, was] of places) {
          const at = row * span + cpu * width + was
          words[cpu * size + word] = now[at]! - before[at]!
        }
      rows.set(rowOf(row), words)
    }
    before = now
    return rows
  }
  const add = (rows: ReadonlyMap<number, BigUint64Array>): void => {
    for (const [row, words] of rows) {
      if (row >= to.info.maxEntries) continue
      const sums = wordsOf(to.lookup(u32(row)))
      words.forEach((word, i) => {
        sums[i]! += word
      })
      to.update(u32(row), new Uint8Array(sums.buffer))
    }
  }
  add(differences(await read()))
  return { again: async () => add(differences(await read())) }
}
