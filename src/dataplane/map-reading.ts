/** Reads of whole maps that no memory is shared with: per-CPU counters, the devmap. */
import { type BpfMap, loadNative } from '../native.js'
import { sumOverCpus } from './counters.js'
import { u32 } from './map-key.js'

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

/** The devmap's places by interface. */
export const readOutPorts = (devmap: BpfMap): Map<number, number> => {
  const ports = new Map<number, number>()
  for (let port = 0; port < devmap.info.maxEntries; port++) {
    try {
      const value = devmap.lookup(u32(port))
      ports.set(new DataView(value.buffer, value.byteOffset).getUint32(0, true), port)
    } catch (cause) {
      if ((cause as { code?: string }).code !== 'ENOENT') throw cause // nobody has this place
    }
  }
  return ports
}
