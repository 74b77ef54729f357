/** Every case of every site, in rounds: the packets, what is counted of them, and the time they take. */
import { execFileSync } from 'node:child_process'
import type { Verdict } from '../../src/dataplane/dataplane.js'
import { check, type Figure } from '../bench.js'
import { median, undisturbed } from '../statistics.js'
import {
  BACKENDS,
  type Balancer,
  backendsServed,
  type Interfaces,
  loadBalancer,
  packetsByVerdict,
  type ServiceToLoad,
} from './balancer.js'
import type { Case } from './cases.js'
import { loadTrampoline, programFds, programInfo, type Trampoline } from './trampoline.js'

const ACTIONS: Readonly<Record<string, number>> = { DROP: 1, PASS: 2, TX: 3, REDIRECT: 4 }
export const LOOPBACK = 1
/** Packets a round. Many flows need more, for they begin with a ring that the cache has lost meanwhile. */
export const PACKETS = 200_000
export const PACKETS_OF_MANY_FLOWS = 1_000_000
/** Each round begins with another case, this many after the last round's. */
const ROTATION = 5

/** A load of the program, with tables of its own. */
export interface Site {
  readonly cases: readonly Case[]
  readonly services: readonly ServiceToLoad[]
  /** Entries of the flow cache, with every slot tracked; null: no slot is. */
  readonly flows: number | null
  /** Before the first round. @param fd the program's */
  readonly open?: (balancer: Balancer, fd: number) => Promise<void>
  /** Before each case's packets, outside of what is measured. */
  readonly prepare?: (balancer: Balancer) => void
}

const packetsARound = ({ flows }: Case): number => (flows === 1 ? PACKETS : PACKETS_OF_MANY_FLOWS)

/** Of one case, a figure a round: ns per packet. */
export interface Rounds {
  readonly one: Case
  readonly empty: number[]
  /** A program that only puts the same number of bytes ahead; of cases without any, none. */
  readonly push: number[]
  readonly balanced: number[]
}

interface Track extends Rounds {
  readonly trampoline: Trampoline
  readonly loaded: LoadedSite
}

interface LoadedSite {
  readonly site: Site
  readonly balancer: Balancer
  readonly fd: number
}

/** What is counted before and after must differ by exactly what was sent. */
const expectCounts = async (
  balancer: Balancer,
  before: ReadonlyMap<Verdict, number>,
  sent: ReadonlyMap<Verdict, number>,
  what: string,
): Promise<void> => {
  const after = await packetsByVerdict(balancer)
  for (const [verdict, packets] of after) {
    const counted = packets - (before.get(verdict) ?? 0)
    const expected = sent.get(verdict) ?? 0
    check(counted === expected, `${what}: ${verdict} counted ${counted} packets, ${expected} were sent`)
  }
}

const FRAMES_COMPARED = 1 + 3

/** What one run makes of the frame, any later one must make of it too: else it was not put back as it had been. */
const checkFrame = ({ name, frame, flows, pushed }: Case, trampoline: Trampoline): void => {
  const [once, again] = [1, 3].map(repeat => trampoline.run(repeat, LOOPBACK).frame) as [
    Uint8Array,
    Uint8Array,
  ]
  check(once.length === frame.length + pushed, `${name}: the frame became ${once.length} bytes`)
  if (flows === 1) check(Buffer.compare(once, again) === 0, `${name}: a repeat made another frame of it`)
}

/** Sends some packets of each kind by itself: each must end in its verdict, and many flows reach many backends. */
const checkVerdicts = async (tracks: readonly Track[]): Promise<void> => {
  const packets = 10_000
  for (const { one, trampoline, loaded } of tracks) {
    const { site, balancer, fd } = loaded
    site.prepare?.(balancer)
    const before = await packetsByVerdict(balancer)
    trampoline.aim(fd)
    const { action } = trampoline.run(packets, LOOPBACK)
    const expected = ACTIONS[one.verdict.split('_', 1)[0]!]
    check(action === expected, `${one.name}: XDP action ${action}, expected ${expected}`)
    checkFrame(one, trampoline)
    await expectCounts(balancer, before, new Map([[one.verdict, packets + FRAMES_COMPARED]]), one.name)
  }
}

const measureRound = (tracks: readonly Track[], round: number): void => {
  const nsPerPacket = (track: Track, target: number, repeat: number): number => {
    track.trampoline.aim(target)
    return track.trampoline.run(repeat, LOOPBACK).cpuNs / repeat
  }
  const first = (round * ROTATION) % tracks.length
  for (let i = 0; i < tracks.length; i++) {
    const track = tracks[(first + i) % tracks.length]!
    const { site, balancer, fd } = track.loaded
    const empty = () => {
      track.empty.push(nsPerPacket(track, track.trampoline.emptyFd, PACKETS))
      if (track.one.pushed > 0) track.push.push(nsPerPacket(track, track.trampoline.pushFd, PACKETS))
    }
    const balanced = () => {
      site.prepare?.(balancer)
      track.balanced.push(nsPerPacket(track, fd, packetsARound(track.one)))
    }
    if ((round + i) % 2 === 0) {
      empty()
      balanced()
    } else {
      balanced()
      empty()
    }
  }
}

const describeProgram = (tag: string, fd: number): string => {
  const id = programInfo(fd, 'prog_id')
  const show = execFileSync('bpftool', ['-j', 'prog', 'show', 'id', id], { encoding: 'utf8' })
  const program = JSON.parse(show) as { readonly bytes_xlated: number; readonly bytes_jited: number }
  return (
    `program ${tag}: ${program.bytes_xlated} bytes translated, ${program.bytes_jited} bytes JITed, ` +
    `${programInfo(fd, 'verified_insns')} instructions verified`
  )
}

const loadSite = async (
  site: Site,
  interfaces: Interfaces,
  known: readonly number[],
): Promise<LoadedSite> => {
  const balancer = await loadBalancer(site.services, interfaces, site.flows)
  const fd = programFds('prog_tag', balancer.dataplane.tag).find(one => !known.includes(one))
  check(fd !== undefined, 'the program that was loaded is not to be found')
  return { site, balancer, fd: fd! }
}

const checkSpread = async ({ site, balancer }: LoadedSite): Promise<void> => {
  const spread = new Set(site.cases.filter(({ flows }) => flows > 1).map(({ service }) => service))
  spread.delete(null)
  const expected = [...spread].reduce((sum, one) => sum + (one!.backends ?? BACKENDS), 0)
  const reached = await backendsServed(balancer)
  check(reached >= expected, `only ${reached} backends were sent packets, not ${expected}`)
}

/** Each site loaded once; all rounds, of all cases of all sites. */
export const measureSites = async (
  sites: readonly Site[],
  rounds: number,
  interfaces: Interfaces,
): Promise<{ rounds: Rounds[]; programs: string[] }> => {
  const loaded: LoadedSite[] = []
  const tracks: Track[] = []
  try {
    for (const site of sites) {
      const fds = loaded.map(({ fd }) => fd)
      loaded.push(await loadSite(site, interfaces, fds))
    }
    for (const at of loaded) {
      await at.site.open?.(at.balancer, at.fd)
      for (const one of at.site.cases)
        tracks.push({
          one,
          trampoline: await loadTrampoline(one),
          loaded: at,
          empty: [],
          push: [],
          balanced: [],
        })
    }
    await checkVerdicts(tracks)

    const before = new Map<LoadedSite, ReadonlyMap<Verdict, number>>()
    for (const at of loaded) before.set(at, await packetsByVerdict(at.balancer))
    for (let round = 0; round < rounds; round++) measureRound(tracks, round)
    for (const at of loaded) {
      const sent = new Map<Verdict, number>()
      for (const one of at.site.cases)
        sent.set(one.verdict, (sent.get(one.verdict) ?? 0) + rounds * packetsARound(one))
      await expectCounts(at.balancer, before.get(at)!, sent, 'all rounds')
      await checkSpread(at)
    }
    return {
      rounds: tracks,
      programs: loaded.map(({ balancer, fd }) => describeProgram(balancer.dataplane.tag, fd)),
    }
  } finally {
    for (const { trampoline } of tracks) trampoline.close()
    for (const { balancer } of loaded) await balancer.dataplane.close()
  }
}

export const figureOf = (loads: readonly Rounds[]): Figure => {
  const { one } = loads[0]!
  const undoing = loads.map(load =>
    one.pushed > 0 ? (undisturbed(load.push) - undisturbed(load.empty)) / 2 : 0,
  )
  const above = loads.map(
    ({ empty, balanced }, i) => undisturbed(balanced) - undisturbed(empty) - undoing[i]!,
  )
  const empty = median(loads.map(load => undisturbed(load.empty)))
  const all = median(
    loads.flatMap((load, i) => load.balanced.map((ns, round) => ns - load.empty[round]! - undoing[i]!)),
  )
  const undo = one.pushed > 0 ? `; ${median(undoing).toFixed(1)} subtracted` : ''
  return {
    name: one.name,
    value: median(above),
    unit: 'ns',
    range: [Math.min(...above), Math.max(...above)],
    ratio: (empty + median(above)) / empty,
    ratioTo: `empty, ${empty.toFixed(1)} ns`,
    note: `median of all rounds ${all.toFixed(1)}${undo}`,
    ...(one.budget === null ? {} : { budget: { of: 'value' as const, atMost: one.budget } }),
  }
}
