/** The data plane as a daemon would load and fill it: the shipped object, its own tables. */
import { addressBytes, macBytes } from '../../src/address.js'
import { DEFAULT_LIMITS } from '../../src/config.js'
import { Dataplane, shapeFor, type Verdict } from '../../src/dataplane/dataplane.js'
import { createTables, type Tables, type WantedService } from '../../src/dataplane/tables.js'
import { backendIdentity, type Forward, isTunnel, type Protocol, type Service } from '../../src/model.js'
import { buildRing } from '../../src/ring.js'
import { claimsOf } from '../../src/rings.js'

export const BACKENDS = 100
export const RING_SIZE = 65537
/** Never reached: what is measured is a whole answer. */
const ANSWERS_PER_SECOND = 100_000_000
/** The balancer's own, by which tunnels begin. */
const SOURCES = { 4: '10.255.0.1', 6: '2001:db8:ffff::1' } as const
/** The entry interface's, as the data plane is told. */
export const OUR_MAC = '02:00:00:00:00:fe'
const SEED = '000102030405060708090a0b0c0d0e0f'

export interface ServiceToLoad {
  readonly name: string
  readonly vip: string
  readonly port: number
  readonly protocol: Protocol
  /** Default: BACKENDS. */
  readonly backends?: number
  /** Where its backends are; null: none is alive, and packets are dropped. */
  readonly way: 'entry' | 'other' | null
  /** Default: direct routing. */
  readonly forward?: Forward
  /** The IP version of its backends' addresses; default: the VIP's. */
  readonly outer?: 4 | 6
  /** Of the way to its backends; default 1500. */
  readonly mtu?: number
}

export interface Interfaces {
  readonly entry: number
  /** Another one, reached by redirect. */
  readonly other: number
}

export interface Balancer {
  readonly dataplane: Dataplane
  readonly tables: Tables
}

const backendAddress = (version: 4 | 6, index: number): string =>
  version === 6 ? `2001:db8:b::${(index + 1).toString(16)}` : `10.0.${index >> 8}.${index & 255}`

const outerVersion = ({ vip, outer }: ServiceToLoad): 4 | 6 => outer ?? (vip.includes(':') ? 6 : 4)

const serviceOf = (toLoad: ServiceToLoad, tracking: Service['tracking']): Service => {
  const { name, vip, port, protocol, forward = { mode: 'dr' }, backends = BACKENDS } = toLoad
  return {
    name,
    vip,
    port,
    protocol,
    forward,
    tunnelSource: [],
    mss: 'keep',
    ping: 'answer',
    scheduler: 'maglev',
    ringSize: RING_SIZE,
    hash: ['source', 'source-port', 'destination', 'destination-port'],
    noBackend: 'drop',
    tracking,
    idleTimeMs: 900_000,
    udpIdleTimeMs: 60_000,
    leaveDeadlineMs: 3_600_000,
    lastResort: 'drained',
    health: null,
    backends: Array.from({ length: backends }, (_, index) => ({
      name: `b${index}`,
      address: backendAddress(outerVersion(toLoad), index),
      port: null,
      weight: 1,
      mac: null,
    })),
  }
}

/** What a daemon would want of it, everybody up. */
export const wantedOf = (
  toLoad: ServiceToLoad,
  interfaces: Interfaces,
  tracking: Service['tracking'] = 'never',
): WantedService => {
  const service = serviceOf(toLoad, tracking)
  const { forward } = service
  return {
    service,
    backends: service.backends.map((backend, index) => ({
      identity: backendIdentity(service, backend),
      address: backend.address,
      port: service.port,
      isDead: false,
      isDraining: false,
      nextHop: {
        ifindex: toLoad.way === 'other' ? interfaces.other : interfaces.entry,
        mac: Uint8Array.of(2, 0, 0, 1, index >> 8, index & 255),
        sourceMac: macBytes(OUR_MAC),
        mtu: toLoad.mtu ?? 1500,
        source: addressBytes(SOURCES[outerVersion(toLoad)]),
      },
      tunnel: isTunnel(forward) ? { forward, source: null } : null,
    })),
    owners:
      toLoad.way === null
        ? new Int32Array(RING_SIZE).fill(-1)
        : buildRing(claimsOf(service), RING_SIZE).owners,
  }
}

/** @param flows entries of the flow cache, with every slot tracked; null: no slot is */
export const loadBalancer = async (
  services: readonly ServiceToLoad[],
  interfaces: Interfaces,
  flows: number | null = null,
): Promise<Balancer> => {
  const limits = flows === null ? DEFAULT_LIMITS : { ...DEFAULT_LIMITS, flows }
  const dataplane = await Dataplane.load(
    shapeFor(limits, SEED, { interfaces: 16, answersPerSecond: ANSWERS_PER_SECOND, tracking: true }),
  )
  const tables = createTables(dataplane, { now: () => performance.now() })
  await tables.setInterfaces([{ ifindex: interfaces.entry, mac: macBytes(OUR_MAC), mtu: 1500 }])
  const tracking = flows === null ? 'never' : 'always'
  await tables.put(services.map(service => wantedOf(service, interfaces, tracking)))
  return { dataplane, tables }
}

/** Packets by verdict so far; zero for those that are missing. */
export const packetsByVerdict = async ({ dataplane }: Balancer): Promise<ReadonlyMap<Verdict, number>> =>
  new Map(
    [...(await dataplane.counts.verdicts())].map(([verdict, { packets }]) => [verdict, Number(packets)]),
  )

/** How many backends have been sent packets so far. */
export const backendsServed = async ({ dataplane }: Balancer): Promise<number> =>
  (await dataplane.counts.backends()).size
