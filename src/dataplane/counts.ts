/** The data plane's counters: who reads them, and what becomes of those whose owner has gone. */
import { type BpfMap, loadNative } from '../native.js'
import type { RecordOf } from './codec.js'
import {
  addTraffic,
  type BackendCount,
  backendCountFrom,
  noCount,
  noTraffic,
  type Sent,
  sentFrom,
  sumOverCpus,
  type Traffic,
  trafficFrom,
} from './counters.js'
import { backendLayout, flowCountLayout, forwardMode, poolCountLayout, verdict } from './layout.js'
import { formerRow, type Loaded, type MapName, type Shape } from './load.js'
import { u32 } from './map-key.js'
import { readCounts } from './map-reading.js'
import { forwardVerdicts, replyVerdicts, type Verdict, verdictNames } from './verdicts.js'

export interface Counts {
  verdicts(): Promise<ReadonlyMap<Verdict, Traffic>>
  /** By row: see `formerRow` in load.ts; those that never counted are left out. */
  backends(): Promise<ReadonlyMap<number, BackendCount>>
  /** One row, now. */
  backend(row: number): BackendCount
  /** What each service has got and not forwarded, by its id; those that never counted are left out. */
  services(): Promise<ReadonlyMap<number, Traffic>>
  /** What was made of a pool, by its index. */
  pool(index: number): RecordOf<typeof poolCountLayout>
  /** What the flow cache did, and what it could not do. */
  flows(): RecordOf<typeof flowCountLayout>
  /** Ids from here on have counted nothing: reading those that have takes the less. */
  limit(idsInUse: Pick<Shape, 'backends' | 'services'>): void
  /**
   * A backend is about to be forwarded to in another mode (enum forward_mode; none: its id is freed). What it has counted
   * stays in the totals of the mode that it was forwarded in.
   */
  modeChanges(id: number, from: number, to: number): void
  /** What a backend's row has counted goes to another; nobody counts in it meanwhile. */
  moveBackend(row: number, to: number): void
  /** What a service of another identity has counted by this id is forgotten; the verdicts' totals are not. */
  clearService(id: number): void
}

/** Reads of totals while modes change. */
const MAX_READS = 5

type Ways = { readonly tx: Verdict; readonly redirect: Verdict }

const replyVerdictsOf = (mode: number): Ways =>
  replyVerdicts.get(mode) ?? replyVerdicts.get(forwardMode.FORWARD_NAT)!

const moveRow = (counts: BpfMap, row: number, to: number): void => {
  const moved = new BigUint64Array(counts.lookup(u32(row)).slice().buffer)
  if (moved.every(word => word === 0n)) return
  const sums = new BigUint64Array(counts.lookup(u32(to)).slice().buffer)
  counts.update(u32(to), new Uint8Array(sums.map((word, i) => word + moved[i]!).buffer))
  counts.update(u32(row), new Uint8Array(moved.byteLength))
}

/** In whose totals the packets are of a backend with this mode, or without one. */
const totalMode = (mode: number): number => (forwardVerdicts.has(mode) ? mode : forwardMode.FORWARD_DR)

const wrapped = ({ packets, bytes }: Traffic): Traffic => ({
  packets: BigInt.asUintN(64, packets),
  bytes: BigInt.asUintN(64, bytes),
})
const negated = ({ packets, bytes }: Traffic): Traffic => ({ packets: -packets, bytes: -bytes })

/** @param loaded what runs: another one after a move */
export const createCounts = (loaded: () => Loaded): Counts => {
  let idsInUse: Pick<Shape, 'backends' | 'services'> | null = null
  const shape = (): Shape => loaded().shape
  const map = (name: MapName): BpfMap => loaded().maps.get(name)!

  /** The words of one row, summed over the CPUs. */
  const rowOf = (
    name: 'backend_counts' | 'reply_counts' | 'pool_counts' | 'flow_counts',
    row: number,
  ): readonly bigint[] => {
    const counts = map(name)
    return sumOverCpus(counts.lookup(u32(row)), counts.info.valueSize, loadNative().possibleCpus).row(0)
  }

  const readRows = async <T>(
    name: 'backend_counts' | 'reply_counts',
    from: (words: readonly bigint[]) => T,
  ): Promise<Map<number, T>> => {
    const { backends, services } = idsInUse ?? shape()
    const former = { first: formerRow(shape(), 0), count: services }
    const [present, past] = await Promise.all(
      [{ first: 0, count: backends }, former].map(rows => readCounts(map(name), rows, from)),
    )
    return new Map([...present!, ...past!])
  }

  const readBackends = async (): Promise<ReadonlyMap<number, BackendCount>> => {
    const counts = await readRows('backend_counts', backendCountFrom)
    for (const [row, replies] of await readRows('reply_counts', sentFrom))
      counts.set(row, { ...(counts.get(row) ?? noCount), replies })
    return counts
  }

  /** The mode by which a row of backend_counts counts; rows of nobody, and of those that have gone: direct routing. */
  const modeOf = (row: number): number => {
    const { memory, shape } = loaded()
    if (row >= shape.backends) return forwardMode.FORWARD_DR
    const { size, fields } = backendLayout
    return totalMode(new Uint8Array(memory.get('backends')!)[row * size + fields.mode.offset]!)
  }

  /** Grows with each change of a mode. */
  let carried = 0

  /**
   * The rows of the forwarding verdicts hold no packets of their own, but what backends have counted in a mode that they
   * have no longer: added there, and taken from the mode that they have. So sums are modulo 2^64.
   */
  const readVerdicts = async (): Promise<ReadonlyMap<Verdict, Traffic>> => {
    const verdicts = map('verdicts')
    const ended = await readCounts(verdicts, { first: 0, count: verdicts.info.maxEntries }, trafficFrom)
    const counts = new Map<Verdict, Traffic>()
    for (const [value, name] of verdictNames)
      if (name !== 'CONTINUE') counts.set(name, ended.get(value) ?? noTraffic)
    const add = (name: Verdict, traffic: Traffic): void => {
      counts.set(name, wrapped(addTraffic(counts.get(name) ?? noTraffic, traffic)))
    }
    const rows = await readBackends()
    for (const verdicts of [forwardVerdicts, replyVerdicts])
      for (const { tx, redirect } of verdicts.values())
        for (const name of [tx, redirect]) add(name, noTraffic)
    const addSent = ({ tx, redirect }: Ways, sent: Sent): void => {
      add(tx, sent.tx)
      add(redirect, sent.redirect)
    }
    for (const [row, count] of rows) {
      const mode = modeOf(row)
      addSent(forwardVerdicts.get(mode)!, count)
      addSent(replyVerdictsOf(mode), count.replies)
    }
    return counts
  }

  /** @param traffic may be negative */
  const addToVerdict = (name: Verdict, { packets, bytes }: Traffic): void => {
    const verdicts = map('verdicts')
    const words = new BigUint64Array(verdicts.lookup(u32(verdict[name])).slice().buffer)
    words[0] = words[0]! + packets
    words[1] = words[1]! + bytes
    verdicts.update(u32(verdict[name]), new Uint8Array(words.buffer))
  }

  return {
    verdicts: async () => {
      for (let attempt = 1; ; attempt++) {
        const before = carried
        const counts = await readVerdicts()
        // A mode that has changed meanwhile may be in one half of what was read.
        if (carried === before || attempt === MAX_READS) return counts
      }
    },
    backends: readBackends,
    backend: row => ({
      ...backendCountFrom(rowOf('backend_counts', row)),
      replies: sentFrom(rowOf('reply_counts', row)),
    }),
    services: () => {
      const { services } = idsInUse ?? shape()
      return readCounts(map('service_counts'), { first: 0, count: services }, trafficFrom)
    },
    pool: index =>
      poolCountLayout.decode(new Uint8Array(BigUint64Array.from(rowOf('pool_counts', index)).buffer)),
    flows: () => flowCountLayout.decode(new Uint8Array(BigUint64Array.from(rowOf('flow_counts', 0)).buffer)),
    limit: ids => {
      idsInUse = ids
    },
    modeChanges: (id, from, to) => {
      const [before, after] = [totalMode(from), totalMode(to)]
      if (before === after) return
      const carry = (sent: Sent, were: Ways, are: Ways): void => {
        if (were === are) return
        for (const way of ['tx', 'redirect'] as const) {
          addToVerdict(were[way], sent[way])
          addToVerdict(are[way], negated(sent[way]))
        }
      }
      carry(
        backendCountFrom(rowOf('backend_counts', id)),
        forwardVerdicts.get(before)!,
        forwardVerdicts.get(after)!,
      )
      carry(sentFrom(rowOf('reply_counts', id)), replyVerdictsOf(before), replyVerdictsOf(after))
      carried++
    },
    moveBackend: (row, to) => {
      moveRow(map('backend_counts'), row, to)
      moveRow(map('reply_counts'), row, to)
    },
    clearService: id => {
      const counts = map('service_counts')
      counts.update(u32(id), new Uint8Array(counts.lookupSize))
    },
  }
}
