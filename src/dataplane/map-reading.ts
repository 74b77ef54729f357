/** Reads of per-CPU counters, many rows at a time. */
import { type BpfMap, loadNative } from '../native.js'
import { sumOverCpus } from './counters.js'

/** Rows of an array map. */
export interface Rows {
  readonly first: number
  readonly count: number
}

/** Of an array map: what each row has counted; those that never did are left out. */
export const readCounts = async <T>(
  map: BpfMap,
  { first, count }: Rows,
  from: (words: readonly bigint[]) => T,
): Promise<Map<number, T>> => {
  if (count === 0) return new Map()
  const { values } = await map.lookupBatch(first, count)
  const sums = sumOverCpus(values, map.info.valueSize, loadNative().possibleCpus)
  return new Map(sums.used().map(row => [first + row, from(sums.row(row))]))
}
