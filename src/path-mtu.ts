/**
 * What routers say of the paths to tunnelled backends: each "fragmentation needed" or "packet too big" about a tunnel's
 * own packet is noted by the data plane, and from here lowers the backend's MTU, until a longer packet is tried again
 * (RFC 1191 section 6.3, RFC 8201 section 4). What is believed stays in the data plane's map, and so outlives this
 * process where maps are pinned; elsewhere it is learnt again from the first packet that is too long.
 */
import { addressFamily } from './address.js'
import type { Log } from './log.js'

/** Until a longer packet is tried: RFC 1191 section 6.3 and RFC 8201 section 4 recommend 10 minutes. */
const BELIEVED_MS = 600_000
/** No IPv6 path takes less: RFC 8201 section 4. */
const LEAST_IPV6 = 1280
/** Less is said by nobody who knows: RFC 791, "every internet module must be able to forward 68 octets". */
const LEAST_IPV4_SAID = 68
/** Nor is a path of less believed in: what every host takes whole. It bounds what a forged message can do. */
const LEAST_IPV4 = 576
const NOBODY_THERE = 'no tunnelled backend is there, or no route'

export interface PathMtuReport {
  /** The tunnel's outer destination: a backend's address, canonical. */
  readonly address: string
  /** Bytes of the outer packet; 0: the router does not say (RFC 1191 section 5). */
  readonly mtu: number
  /** By the same clock as `now`. */
  readonly heardMs: number
}

/** What the data plane has noted, the last one of each address. */
export interface PathMtuReports {
  read(): Promise<readonly PathMtuReport[]>
  remove(address: string): void
  /** The clock that they are stamped by, in milliseconds. */
  now(): number
}

export interface PathMtus {
  /** In bytes of the outer packet; null: nobody has said anything. */
  get(address: string): number | null
  /** The way there is another one. */
  forget(address: string): void
  /** Once a second. */
  tick(): Promise<void>
}

export interface PathMtusOptions {
  readonly reports: PathMtuReports
  /** Of the route to a tunnelled backend; null: there is no such backend, or no route. */
  readonly routeMtu: (address: string) => number | null
  /** `get` gives other answers. */
  readonly onChange: () => void
  readonly log: Log
}

/** The path's MTU as a report has it, or why it is not believed. @param route the route's own */
const believed = ({ address, mtu }: PathMtuReport, route: number): number | string => {
  if (mtu >= route) return `the route's own MTU is ${route}`
  if (addressFamily(address) === 6) return mtu < LEAST_IPV6 ? 'less than any IPv6 path takes' : mtu
  if (mtu !== 0 && mtu < LEAST_IPV4_SAID) return 'less than any IPv4 path takes'
  return LEAST_IPV4 < route ? Math.max(mtu, LEAST_IPV4) : 'the route takes little enough'
}

/** Begins with what an earlier process has believed; the first `tick` sorts out what is nobody's. */
export const createPathMtus = async (options: PathMtusOptions): Promise<PathMtus> => {
  const { reports, routeMtu, onChange, log } = options
  const learnt = new Map<string, { readonly mtu: number; readonly heardMs: number }>()
  let forgotten = new Set<string>()
  let isTicking = false

  const isOld = (heardMs: number): boolean => reports.now() - heardMs >= BELIEVED_MS

  const drop = (address: string, reason: string): void => {
    const { mtu } = learnt.get(address)!
    learnt.delete(address)
    reports.remove(address)
    log.info({ event: 'path-mtu.forgotten', address, mtu, reason }, 'longer packets are tried again')
  }

  const ignore = (report: PathMtuReport, reason: string): void => {
    reports.remove(report.address)
    log.debug({ event: 'path-mtu.ignored', ...report, reason }, 'what is said of a path is not believed')
  }

  /** @returns whether the address's MTU is another one */
  const take = (report: PathMtuReport): boolean => {
    const { address, heardMs } = report
    const before = learnt.get(address)
    if (forgotten.has(address) || before?.heardMs === heardMs) return false
    const route = routeMtu(address)
    const mtu = route === null ? NOBODY_THERE : isOld(heardMs) ? 'too old' : believed(report, route)
    if (typeof mtu === 'string') {
      ignore(report, mtu)
      return false
    }
    // A message never raises an estimate (RFC 8201 section 4): it may be about another of several paths.
    if (before && mtu > before.mtu) return false
    learnt.set(address, { mtu, heardMs })
    if (mtu === before?.mtu) return false
    log.info(
      { event: 'path-mtu.lowered', address, mtu, from: before?.mtu ?? route },
      'a router on the path takes no longer packets',
    )
    return true
  }

  const dropOld = (): boolean => {
    const before = learnt.size
    for (const [address, { heardMs }] of learnt) {
      if (routeMtu(address) === null) drop(address, NOBODY_THERE)
      else if (isOld(heardMs)) drop(address, `it is ${BELIEVED_MS / 60_000} minutes old`)
    }
    return learnt.size < before
  }

  for (const report of await reports.read()) {
    const mtu = isOld(report.heardMs) ? 'too old' : believed(report, Number.POSITIVE_INFINITY)
    if (typeof mtu === 'string') ignore(report, mtu)
    else learnt.set(report.address, { mtu, heardMs: report.heardMs })
  }

  return {
    get: address => learnt.get(address)?.mtu ?? null,
    forget: address => {
      forgotten.add(address)
      if (learnt.has(address)) drop(address, 'the route has changed')
    },
    tick: async () => {
      if (isTicking) return
      isTicking = true
      try {
        // What was read before it was forgotten does not count.
        forgotten = new Set()
        const taken = (await reports.read()).map(take)
        if ([dropOld(), ...taken].includes(true)) onChange()
      } finally {
        isTicking = false
      }
    },
  }
}
