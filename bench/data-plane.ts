/** What does the data plane cost a packet, above a program that does nothing? */
import { execFileSync } from 'node:child_process'
import type { Verdict } from '../src/dataplane/dataplane.js'
import { type Answer, type Bench, type BenchOptions, check, type Figure } from './bench.js'
import {
  BACKENDS,
  type Balancer,
  backendsServed,
  type Interfaces,
  loadBalancer,
  packetsByVerdict,
  RING_SIZE,
  type ServiceToLoad,
} from './data-plane/balancer.js'
import { type Case, cases } from './data-plane/cases.js'
import { services } from './data-plane/services.js'
import { loadTrampoline, programFd, programInfo, type Trampoline } from './data-plane/trampoline.js'
import { addVethPair } from './namespace.js'
import { disturbance, median, undisturbed } from './statistics.js'

const ACTIONS: Readonly<Record<string, number>> = { DROP: 1, PASS: 2, TX: 3, REDIRECT: 4 }
const LOOPBACK = 1
/** Packets a round. Many flows need more, for they begin with a ring that the cache has lost meanwhile. */
const PACKETS = 200_000
const PACKETS_OF_MANY_FLOWS = 1_000_000
/** Each round begins with another case, this many after the last round's. */
const ROTATION = 5

export interface Plan {
  readonly loads: number
  readonly rounds: number
  readonly cases: readonly Case[]
  readonly services: readonly ServiceToLoad[]
  /** Entries of the flow cache, with every slot tracked; null: no slot is. */
  readonly flows: number | null
  /** Before each round, outside of what is measured. */
  readonly prepare?: (balancer: Balancer) => void
}

const untracked = { services, flows: null }
const planOf = ({ isQuick }: BenchOptions): Plan =>
  isQuick
    ? { loads: 1, rounds: 12, cases: cases.filter(one => one.isQuick), ...untracked }
    : { loads: 3, rounds: 15, cases, ...untracked }

const packetsARound = ({ flows }: Case): number => (flows === 1 ? PACKETS : PACKETS_OF_MANY_FLOWS)

const thousands = (value: number): string => value.toLocaleString('en')

/** Of one case, a figure a round: ns per packet. */
interface Rounds {
  readonly one: Case
  readonly empty: number[]
  /** A program that only puts the same number of bytes ahead; of cases without any, none. */
  readonly push: number[]
  readonly balanced: number[]
}

interface Track extends Rounds {
  readonly trampoline: Trampoline
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
const checkVerdicts = async (balancer: Balancer, tracks: readonly Track[], fd: number): Promise<void> => {
  const packets = 10_000
  for (const { one, trampoline } of tracks) {
    const before = await packetsByVerdict(balancer)
    trampoline.aim(fd)
    const { action } = trampoline.run(packets, LOOPBACK)
    const expected = ACTIONS[one.verdict.split('_', 1)[0]!]
    check(action === expected, `${one.name}: XDP action ${action}, expected ${expected}`)
    checkFrame(one, trampoline)
    await expectCounts(balancer, before, new Map([[one.verdict, packets + FRAMES_COMPARED]]), one.name)
  }
}

const measureRound = (tracks: readonly Track[], fd: number, round: number, prepare: () => void): void => {
  const nsPerPacket = (track: Track, target: number, repeat: number): number => {
    track.trampoline.aim(target)
    return track.trampoline.run(repeat, LOOPBACK).cpuNs / repeat
  }
  const first = (round * ROTATION) % tracks.length
  for (let i = 0; i < tracks.length; i++) {
    const track = tracks[(first + i) % tracks.length]!
    const empty = () => {
      track.empty.push(nsPerPacket(track, track.trampoline.emptyFd, PACKETS))
      if (track.one.pushed > 0) track.push.push(nsPerPacket(track, track.trampoline.pushFd, PACKETS))
    }
    const balanced = () => {
      prepare()
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

/** One load of the program, all rounds. */
export const measureLoad = async (
  plan: Plan,
  interfaces: Interfaces,
): Promise<{ rounds: Rounds[]; program: string }> => {
  const balancer = await loadBalancer(plan.services, interfaces, plan.flows)
  const tracks: Track[] = []
  try {
    const fd = programFd('prog_tag', balancer.dataplane.tag)
    for (const one of plan.cases)
      tracks.push({ one, trampoline: await loadTrampoline(one), empty: [], push: [], balanced: [] })
    await checkVerdicts(balancer, tracks, fd)

    const before = await packetsByVerdict(balancer)
    for (let round = 0; round < plan.rounds; round++)
      measureRound(tracks, fd, round, () => plan.prepare?.(balancer))
    const sent = new Map<Verdict, number>()
    for (const { one } of tracks)
      sent.set(one.verdict, (sent.get(one.verdict) ?? 0) + plan.rounds * packetsARound(one))
    await expectCounts(balancer, before, sent, 'all rounds')

    const spread = new Set(plan.cases.filter(({ flows }) => flows > 1).map(({ service }) => service))
    spread.delete(null)
    const reached = await backendsServed(balancer)
    check(reached >= BACKENDS * spread.size, `only ${reached} backends were sent packets`)
    return { rounds: tracks, program: describeProgram(balancer.dataplane.tag, fd) }
  } finally {
    for (const { trampoline } of tracks) trampoline.close()
    await balancer.dataplane.close()
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

const run = async (options: BenchOptions): Promise<Answer> => {
  const plan = planOf(options)
  const [other] = await addVethPair('out', 'sink')
  const interfaces = { entry: LOOPBACK, other }
  const loads: Rounds[][] = []
  let program = ''
  for (let load = 0; load < plan.loads; load++) {
    const measured = await measureLoad(plan, interfaces)
    loads.push(measured.rounds)
    program = measured.program
  }
  return {
    figures: plan.cases.map((_, i) => figureOf(loads.map(rounds => rounds[i]!))),
    setup: [
      program,
      `${plan.loads} loads of the program, ${plan.rounds} rounds each of ${thousands(PACKETS)} packets, ${thousands(PACKETS_OF_MANY_FLOWS)} where there are many flows`,
      `${services.length} services in a table for 1,024, ${BACKENDS} backends each, rings of ${RING_SIZE} slots`,
      ...disturbance(loads.flatMap(rounds => rounds.map(({ balanced }) => balanced))),
      `frames with 64 bytes of payload: IPv4 TCP ${cases[0]!.frame.length} bytes, IPv6 TCP ${cases[8]!.frame.length}; DF set`,
    ],
  }
}

export const dataPlane: Bench = {
  name: 'data-plane',
  question: 'What does the data plane cost a packet, above a program that does nothing?',
  method:
    "ns a packet above empty. BPF_PROG_TEST_RUN, thread CPU time; a trampoline restores and varies the packet, then tail-calls the shipped program, and in turn one that only returns XDP_TX; undisturbed (10th percentile) rounds of each, their difference; where headers are put ahead, less what the trampoline takes to undo it (half of a program that only moves the frame's head); median over the loads of the program [least, greatest]",
  needsKernel: true,
  run,
}
