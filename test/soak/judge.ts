/** Which flows live where, and whether those that ended were allowed to. */
import { hashKeys, hashSeed } from '../../src/flow-hash.js'
import type { HashPart, Service } from '../../src/model.js'
import { address } from '../fixtures/addresses.js'
import { u16 } from '../fixtures/bytes.js'
import { flowHash, slotOf } from '../model/flow-hash.js'
import type { Over, Said } from './said.js'

export interface Judge {
  hear(said: Said): void
  /** From now on this backend's flows may end: the schedule fails it, or cuts it off. */
  fails(backend: string, why: Why): void
  /** Its rows are up again; its flows from now on are to stay. */
  recovers(backend: string): void
  /** Why the schedule has it failed now; null: it has not. */
  failure(backend: string): Why | null
  /** A row was seen down by a look that began at `askedAt`. @returns false: without the schedule having failed it */
  mayBeDown(backend: string, askedAt: number): boolean
  /** The slots of the open connections, one each. */
  slots(): readonly number[]
  readonly open: () => { readonly tcp: number; readonly udp: number }
  verdict(): Verdict
}

/** A failure that the schedule makes: its backend dies, or an order cuts its flows. */
export type Why = Death | Cut
export type Death = 'killed' | 'link down'
export type Cut = 'disabled' | 'deadline'
const deaths: readonly Why[] = ['killed', 'link down'] satisfies readonly Death[]

export interface Verdict {
  readonly connections: number
  readonly flows: number
  readonly asked: number
  readonly answered: number
  readonly unopened: number
  readonly polite: number
  /** Ended because their backend died, and because an order cut them. */
  readonly died: number
  readonly cut: number
  /** Both, by why. */
  readonly excused: Readonly<Partial<Record<Why, number>>>
  readonly broken: readonly Over[]
}

interface Window {
  readonly why: Why
  readonly from: number
  to: number
}

export interface JudgeOptions {
  readonly seed: string
  readonly vip: string
  readonly port: number
  readonly client: string
  readonly ringSize: number
  readonly onBroken: (over: Over) => void
  /** Milliseconds since the epoch; default: the machine's. */
  readonly now?: () => number
}

const ALL: readonly HashPart[] = ['source', 'source-port', 'destination', 'destination-port']
const sumOf = (counts: Readonly<Partial<Record<Why, number>>>, isIt: (why: Why) => boolean): number =>
  Object.entries(counts).reduce((sum, [why, count]) => (isIt(why as Why) ? sum + count : sum), 0)

export const createJudge = (options: JudgeOptions): Judge => {
  const { seed, vip, port, ringSize, now = Date.now } = options
  const source = address(options.client)
  const keys = hashKeys(seed) as unknown as readonly [bigint, bigint, bigint, bigint]
  const service = { hash: ALL, hashSeed: hashSeed(seed, { vip, port, protocol: 'tcp' } as Service) }
  const windows = new Map<string, Window[]>()
  const open = new Map<number, { readonly protocol: 'tcp' | 'udp'; readonly slot: number }>()
  const excused: Partial<Record<Why, number>> = {}
  const broken: Over[] = []
  const sums = { tcp: 0, udp: 0, unopened: 0, polite: 0, asked: 0, answered: 0 }

  const slotOfPort = (from: number): number => {
    const ports = Uint8Array.of(...u16(from), ...u16(port))
    return slotOf(flowHash({ hashKeys: keys }, service, { source, ports }), ringSize)
  }
  /** It ended after the failure was made, and its last answer came before that was over. */
  const excuse = ({ backend, okAt, at }: Over): Why | undefined =>
    windows.get(backend)?.find(({ from, to }) => from <= at && to >= okAt)?.why
  const openWindow = (backend: string): Window | null => {
    const last = windows.get(backend)?.at(-1)
    return last?.to === Number.POSITIVE_INFINITY ? last : null
  }

  return {
    hear: said => {
      if (said.kind === 'open') {
        sums[said.protocol]++
        open.set(said.id, { protocol: said.protocol, slot: slotOfPort(said.port) })
      } else if (said.kind === 'unopened') sums.unopened++
      else if (said.kind === 'end') Object.assign(sums, { asked: said.asked, answered: said.answered })
      else {
        open.delete(said.id)
        const why = excuse(said)
        if (said.why === 'asked to') sums.polite++
        else if (why !== undefined) excused[why] = (excused[why] ?? 0) + 1
        else {
          broken.push(said)
          options.onBroken(said)
        }
      }
    },
    fails: (backend, why) => {
      if (openWindow(backend)) return
      const window = { why, from: now(), to: Number.POSITIVE_INFINITY }
      windows.set(backend, [...(windows.get(backend) ?? []), window])
    },
    recovers: backend => {
      const window = openWindow(backend)
      if (window) window.to = now()
    },
    failure: backend => openWindow(backend)?.why ?? null,
    mayBeDown: (backend, askedAt) =>
      (windows.get(backend)?.at(-1)?.to ?? Number.NEGATIVE_INFINITY) >= askedAt,
    slots: () => [...open.values()].filter(({ protocol }) => protocol === 'tcp').map(({ slot }) => slot),
    open: () => {
      const all = [...open.values()]
      const tcp = all.filter(({ protocol }) => protocol === 'tcp').length
      return { tcp, udp: all.length - tcp }
    },
    verdict: () => ({
      died: sumOf(excused, why => deaths.includes(why)),
      cut: sumOf(excused, why => !deaths.includes(why)),
      connections: sums.tcp,
      flows: sums.udp,
      asked: sums.asked,
      answered: sums.answered,
      unopened: sums.unopened,
      polite: sums.polite,
      excused,
      broken,
    }),
  }
}
