/** Which flows live where, and whether those that ended were allowed to. */
import { hashKeys, hashSeed } from '../../src/flow-hash.js'
import type { HashPart, Service } from '../../src/model.js'
import { address } from '../fixtures/addresses.js'
import { u16 } from '../fixtures/bytes.js'
import { flowHash, slotOf } from '../model/flow-hash.js'
import type { Over, Said } from './said.js'

export interface Judge {
  hear(said: Said): void
  /** From now on this backend's flows may end: it fails, or is cut off. */
  fails(backend: string, why: string): void
  /** It has come back; its flows from now on are to stay. */
  recovers(backend: string): void
  /** The slots of the open connections, one each. */
  slots(): readonly number[]
  readonly open: () => { readonly tcp: number; readonly udp: number }
  verdict(): Verdict
}

export interface Verdict {
  readonly connections: number
  readonly flows: number
  readonly asked: number
  readonly answered: number
  readonly unopened: number
  readonly polite: number
  /** By why their backend failed. */
  readonly excused: Readonly<Record<string, number>>
  readonly broken: readonly Over[]
}

interface Window {
  readonly why: string
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
}

const ALL: readonly HashPart[] = ['source', 'source-port', 'destination', 'destination-port']
/** An answer may have been under way when its backend failed; a reset comes with the next question. */
const SLACK_MS = 1500

export const createJudge = (options: JudgeOptions): Judge => {
  const { seed, vip, port, ringSize } = options
  const source = address(options.client)
  const keys = hashKeys(seed) as unknown as readonly [bigint, bigint, bigint, bigint]
  const service = { hash: ALL, hashSeed: hashSeed(seed, { vip, port, protocol: 'tcp' } as Service) }
  const windows = new Map<string, Window[]>()
  const open = new Map<number, { readonly protocol: 'tcp' | 'udp'; readonly slot: number }>()
  const excused: Record<string, number> = {}
  const broken: Over[] = []
  const sums = { tcp: 0, udp: 0, unopened: 0, polite: 0, asked: 0, answered: 0 }

  const slotOfPort = (from: number): number => {
    const ports = Uint8Array.of(...u16(from), ...u16(port))
    return slotOf(flowHash({ hashKeys: keys }, service, { source, ports }), ringSize)
  }
  const excuse = ({ backend, okAt, at }: Over): string | undefined =>
    windows.get(backend)?.find(({ from, to }) => from <= at && to >= okAt - SLACK_MS)?.why

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
      const all = windows.get(backend) ?? []
      if (all.at(-1)?.to !== Number.POSITIVE_INFINITY)
        windows.set(backend, [...all, { why, from: Date.now(), to: Number.POSITIVE_INFINITY }])
    },
    recovers: backend => {
      const last = windows.get(backend)?.at(-1)
      if (last && last.to === Number.POSITIVE_INFINITY) last.to = Date.now()
    },
    slots: () => [...open.values()].filter(({ protocol }) => protocol === 'tcp').map(({ slot }) => slot),
    open: () => {
      const all = [...open.values()]
      const tcp = all.filter(({ protocol }) => protocol === 'tcp').length
      return { tcp, udp: all.length - tcp }
    },
    verdict: () => ({
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
