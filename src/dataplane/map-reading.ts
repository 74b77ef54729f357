/** Reads of whole maps that no memory is shared with: per-CPU counters, the devmap. */
import { type BpfMap, loadNative } from '../native.js'
import { sumOverCpus } from './counters.js'

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer)

/** Of an array map: what each index has counted; those that never did are left out. */
export const readCounts = async <T>(
  map: BpfMap,
  from: (words: readonly bigint[]) => T,
): Promise<Map<number, T>> => {
  const { values } = await map.lookupBatch()
  const sums = sumOverCpus(values, map.info.valueSize, loadNative().possibleCpus)
  return new Map(sums.used().map(index => [index, from(sums.row(index))]))
}

/** The same of several maps, by index. */
export const sumOfMaps = async <T>(
  maps: readonly BpfMap[],
  from: (words: readonly bigint[]) => T,
  add: (a: T, b: T) => T,
): Promise<Map<number, T>> => {
  const sums = new Map<number, T>()
  for (const map of maps)
    for (const [index, one] of await readCounts(map, from)) {
      const before = sums.get(index)
      sums.set(index, before === undefined ? one : add(before, one))
    }
  return sums
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
