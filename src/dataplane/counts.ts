/** The data plane's counters: who reads them, and what becomes of those whose owner has gone. */
import { type BpfMap, loadNative } from '../native.js'
import type { RecordOf } from './codec.js'
import {
  addTraffic,
  type BackendCount,
  backendCountFrom,
  noTraffic,
  sumOverCpus,
  type Traffic,
  trafficFrom,
} from './counters.js'
import { flowCountLayout } from './layout.js'
import { formerRow, type Loaded, type MapName, type Shape } from './load.js'
import { u32 } from './map-key.js'
import { readCounts } from './map-reading.js'
import { type Verdict, verdictNames } from './verdicts.js'

export interface Counts {
  verdicts(): Promise<ReadonlyMap<Verdict, Traffic>>
  /** By row: see `formerRow` in load.ts; those that never counted are left out. */
  backends(): Promise<ReadonlyMap<number, BackendCount>>
  /** One row, now. */
  backend(row: number): BackendCount
  /** What each service has got and not forwarded, by its id; those that never counted are left out. */
  services(): Promise<ReadonlyMap<number, Traffic>>
  /** What the flow cache did, and what it could not do. */
  flows(): RecordOf<typeof flowCountLayout>
  /** Ids from here on have counted nothing: reading those that have takes the less. */
  limit(idsInUse: Pick<Shape, 'backends' | 'services'>): void
  /** What a backend's row has counted goes to another; nobody counts in it meanwhile. */
  moveBackend(row: number, to: number): void
  /** What a service of another identity has counted by this id is forgotten; the verdicts' totals are not. */
  clearService(id: number): void
}

/** @param loaded what runs: another one after a move */
export const createCounts = (loaded: () => Loaded): Counts => {
  let idsInUse: Pick<Shape, 'backends' | 'services'> | null = null
  const shape = (): Shape => loaded().shape
  const map = (name: MapName): BpfMap => loaded().maps.get(name)!

  /** The words of one row, summed over the CPUs. */
  const rowOf = (name: 'backend_counts' | 'flow_counts', row: number): readonly bigint[] => {
    const counts = map(name)
    return sumOverCpus(counts.lookup(u32(row)), counts.info.valueSize, loadNative().possibleCpus).row(0)
  }

  const readBackends = async (): Promise<ReadonlyMap<number, BackendCount>> => {
    const { backends, services } = idsInUse ?? shape()
    const counts = map('backend_counts')
    const former = { first: formerRow(shape(), 0), count: services }
    const [present, past] = await Promise.all(
      [{ first: 0, count: backends }, former].map(rows => readCounts(counts, rows, backendCountFrom)),
    )
    return new Map([...present!, ...past!])
  }

  return {
    verdicts: async () => {
      const counts = new Map<Verdict, Traffic>()
      const verdicts = map('verdicts')
      const ended = await readCounts(verdicts, { first: 0, count: verdicts.info.maxEntries }, trafficFrom)
      for (const [value, name] of verdictNames)
        if (name !== 'CONTINUE') counts.set(name, ended.get(value) ?? noTraffic)
      const forwarded = [...(await readBackends()).values()]
      counts.set('TX_DR', forwarded.map(({ tx }) => tx).reduce(addTraffic, noTraffic))
      counts.set('REDIRECT_DR', forwarded.map(({ redirect }) => redirect).reduce(addTraffic, noTraffic))
      return counts
    },
    backends: readBackends,
    backend: row => backendCountFrom(rowOf('backend_counts', row)),
    services: () => {
      const { services } = idsInUse ?? shape()
      return readCounts(map('service_counts'), { first: 0, count: services }, trafficFrom)
    },
    flows: () => flowCountLayout.decode(new Uint8Array(BigUint64Array.from(rowOf('flow_counts', 0)).buffer)),
    limit: ids => {
      idsInUse = ids
    },
    moveBackend: (row, to) => {
      const counts = map('backend_counts')
      const moved = new BigUint64Array(counts.lookup(u32(row)).slice().buffer)
      if (moved.every(word => word === 0n)) return
      const sums = new BigUint64Array(counts.lookup(u32(to)).slice().buffer)
      counts.update(u32(to), new Uint8Array(sums.map((word, i) => word + moved[i]!).buffer))
      counts.update(u32(row), new Uint8Array(moved.byteLength))
    },
    clearService: id => {
      const counts = map('service_counts')
      counts.update(u32(id), new Uint8Array(counts.lookupSize))
    },
  }
}
