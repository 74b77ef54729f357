/** The packets that are measured, what must become of them, and what that may cost. */
import type { Verdict } from '../../src/dataplane/dataplane.js'
import type { ServiceToLoad } from './balancer.js'
import { type JourneyName, journeys } from './journeys.js'
import type { PacketKind } from './packet.js'
import { served } from './services.js'

export interface Case extends PacketKind {
  readonly name: string
  /** The service whose backends it reaches; null: it is not forwarded. */
  readonly service: ServiceToLoad | null
  readonly verdict: Verdict
  /** ns above the empty program. */
  readonly budget: number | null
  /** Measured by --quick too. */
  readonly isQuick: boolean
}

export const ALL_NEW = 2 ** 32

const flowsText = (flows: number): string =>
  flows === ALL_NEW ? 'all new' : flows === 1 ? '1 flow' : `${flows.toLocaleString('en')} flows`

const of = (name: JourneyName, flows: number, budget: number | null, isQuick = false): Case => {
  const { title, fields, ...kind } = journeys[name]
  return {
    ...kind,
    name: fields ? `${title}, ${flowsText(flows)}` : title,
    flows,
    flowFields: fields,
    budget,
    isQuick,
  }
}

const byFlows = (name: JourneyName, atOne: number, atMany: number): Case[] => [
  of(name, 1, atOne, true),
  of(name, 65536, atMany),
  of(name, 1048576, atMany, true),
  of(name, ALL_NEW, null),
]

export const cases: readonly Case[] = [
  ...byFlows('tcp4', 17, 19),
  ...byFlows('udp4', 17, 19),
  ...byFlows('tcp6', 18, 21),
  ...byFlows('udp6', 18, 21),
  of('vlan1', 1, null),
  of('vlan2', 1, null),
  of('vlan2v6', 1, null),
  of('away4', 1, null, true),
  of('away4', 1048576, null),
  of('away6', 1, null),
  ...byFlows('ipip44', 28, 32),
  ...byFlows('ipip66', 30, 34),
  of('ipip46', 1, null, true),
  of('ipip46', 1048576, null),
  of('ipip64', 1, null, true),
  of('ipip64', 1048576, null),
  of('ipipVlan', 1, null),
  of('ipipAway4', 1, null),
  of('gre44', 1, null, true),
  of('gre44', 1048576, null),
  of('gre66', 1, null),
  of('greKey44', 1, null, true),
  ...byFlows('gue44', 32, 36),
  of('gue64', 1, null),
  of('gue46', 1, null, true),
  of('gue46', 1048576, null),
  of('gue66', 1, null, true),
  of('gue66', 1048576, null),
  of('bare44', 1, null, true),
  of('bare66', 1, null),
  of('gueAway4', 1, null),
  of('host4', 1, 12, true),
  of('host4', 1048576, 12),
  of('host6', 1, 12, true),
  of('host6', 1048576, 12),
  of('arp', 1, 6, true),
  of('fragment4', 1, null),
  of('fragment6', 1, null),
  of('dead4', 1, null, true),
  of('hostPing4', 1, null),
  of('ping4', 1, null, true),
  of('ping6', 1, null, true),
  of('error4', 1, null, true),
  of('error6', 1, null, true),
  of('errorIpip', 1, null, true),
  of('tooBig4', 1, null, true),
  of('tooBig6', 1, null),
]

/** The services of the tracked cases: a load for each. */
export const trackedServices = { dr: [served.tcp4], ipip: [served.ipip44] } satisfies Record<
  string,
  readonly ServiceToLoad[]
>

const trackedCase = (what: string, name: JourneyName, flows: number, budget: number | null): Case => {
  const one = of(name, flows, budget, true)
  return { ...one, name: `${what}, ${flowsText(flows)}` }
}

/** Every slot tracked. A flow that is known hits; one that is new finds an empty cache, or a full one. */
export const trackedCases = {
  known: [
    trackedCase('tracked DR, hit', 'tcp4', 1, 35),
    trackedCase('tracked DR, hit', 'tcp4', 1048576, 160),
  ],
  knownIpip: [
    trackedCase('tracked IPIP 4in4, hit', 'ipip44', 1, 45),
    trackedCase('tracked IPIP 4in4, hit', 'ipip44', 1048576, 180),
  ],
  remembered: [trackedCase('tracked DR, remembered', 'tcp4', ALL_NEW, 175)],
  refused: [trackedCase('tracked DR, no place', 'tcp4', ALL_NEW, 175)],
} satisfies Record<string, readonly Case[]>

export interface LiveKind extends PacketKind {
  readonly name: string
  readonly verdict: Verdict
  /** Of the plain redirect's time. */
  readonly budget: number
}

const live = (name: JourneyName, flows: number, budget: number): LiveKind => ({
  ...of(name, flows, null),
  budget,
})

/** For frames that travel: out by another interface than they came in. */
export const liveKinds = {
  quick: [live('away4', 1000, 1.1), live('ipipAway4', 1000, 1.16), live('gueAway4', 1000, 1.16)],
  all: [
    ...(['away4', 'away6'] as const).flatMap(name => [live(name, 1000, 1.1), live(name, 1048576, 1.1)]),
    ...(['ipipAway4', 'ipipAway6', 'gueAway4', 'gueAway6'] as const).flatMap(name => [
      live(name, 1000, 1.16),
      live(name, 1048576, 1.16),
    ]),
  ],
} satisfies Record<string, readonly LiveKind[]>
