/** The data plane as a daemon would load and fill it: the shipped object, its own tables. */
import { addressBytes, macBytes } from '../../src/address.js'
import { DEFAULT_LIMITS } from '../../src/config.js'
import { Dataplane, shapeFor, type Verdict } from '../../src/dataplane/dataplane.js'
import { IPPROTO } from '../../src/dataplane/service-rules.js'
import {
  type ClientRoute,
  createTables,
  type NextHop,
  type Tables,
  type WantedPools,
  type WantedService,
} from '../../src/dataplane/tables.js'
import {
  backendIdentity,
  DEFAULT_NAT_FLOWS,
  DEFAULT_TIMEOUTS,
  type Forward,
  isTunnel,
  type PortRange,
  type Protocol,
  type Service,
} from '../../src/model.js'
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
/** Of translated services' backends. */
export const BACKEND_PORT = 8080
/** All of them: a pool is then exactly as large as its flows are many. */
const LOCAL_PORTS: PortRange = { first: 0, last: 65535 }
/** Far longer than a run: no connection ends meanwhile. */
const IDLE_MS = 64_800_000
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
  /** FULLNAT: where its connections come from. */
  readonly localAddresses?: readonly string[]
  /** FULLNAT: backends are told the client; default: not. */
  readonly toa?: boolean
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

export const backendAddress = (version: 4 | 6, index: number): string =>
  version === 6 ? `2001:db8:b::${(index + 1).toString(16)}` : `10.0.${index >> 8}.${index & 255}`

const outerVersion = ({ vip, outer }: ServiceToLoad): 4 | 6 => outer ?? (vip.includes(':') ? 6 : 4)

const isTranslated = ({ forward }: ServiceToLoad): boolean =>
  forward?.mode === 'nat' || forward?.mode === 'fullnat'

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
    idleTimeMs: isTranslated(toLoad) ? IDLE_MS : 900_000,
    udpIdleTimeMs: isTranslated(toLoad) ? IDLE_MS : 60_000,
    leaveDeadlineMs: 3_600_000,
    lastResort: 'drained',
    health: null,
    ...(isTranslated(toLoad)
      ? {
          translation: {
            localAddresses: toLoad.localAddresses ?? [],
            localPorts: LOCAL_PORTS,
            toa: toLoad.toa ?? false,
            timeouts: DEFAULT_TIMEOUTS,
          },
        }
      : {}),
    backends: Array.from({ length: backends }, (_, index) => ({
      name: `b${index}`,
      address: backendAddress(outerVersion(toLoad), index),
      port: isTranslated(toLoad) ? BACKEND_PORT : null,
      weight: 1,
      mac: null,
    })),
  }
}

/** By `way`, over the `index`th router or backend. */
const nextHopOf = (ifindex: number, index: number, mtu: number, version: 4 | 6): NextHop => ({
  ifindex,
  mac: Uint8Array.of(2, 0, 0, 1, index >> 8, index & 255),
  sourceMac: macBytes(OUR_MAC),
  mtu,
  source: addressBytes(SOURCES[version]),
})

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
      port: backend.port ?? service.port,
      isDead: false,
      isDraining: false,
      nextHop: nextHopOf(
        toLoad.way === 'other' ? interfaces.other : interfaces.entry,
        index,
        toLoad.mtu ?? 1500,
        outerVersion(toLoad),
      ),
      translated:
        forward.mode === 'nat' || forward.mode === 'fullnat'
          ? {
              mode: forward.mode,
              vip: { addr: addressBytes(service.vip), port: service.port },
              protocol: IPPROTO[service.protocol],
            }
          : null,
      tunnel: isTunnel(forward) ? { forward, source: null } : null,
    })),
    owners:
      toLoad.way === null
        ? new Int32Array(RING_SIZE).fill(-1)
        : buildRing(claimsOf(service), RING_SIZE).owners,
  }
}

/** A pool for each service that connections come from. */
const poolsOf = (services: readonly ServiceToLoad[]): WantedPools => ({
  pools: services.flatMap(({ localAddresses }) =>
    localAddresses ? [{ addresses: localAddresses, ports: LOCAL_PORTS }] : [],
  ),
  snat: null,
  natFlows: DEFAULT_NAT_FLOWS,
})

/** A usual host's: two networks of its own, which the kernel is asked about, and one gateway for everybody else. */
const clientRoutes = (family: 4 | 6, interfaces: Interfaces): ClientRoute[] => {
  const [own, anywhere] =
    family === 4
      ? ([['10.250.0.0', '10.251.0.0'], '0.0.0.0'] as const)
      : ([['2001:db8:250::', '2001:db8:251::'], '::'] as const)
  return [
    ...own.map(net => ({
      net: addressBytes(net),
      length: family === 4 ? 24 : 64,
      kind: 'kernel' as const,
      nextHop: null,
    })),
    {
      net: addressBytes(anywhere),
      length: 0,
      kind: 'hop',
      nextHop: nextHopOf(interfaces.entry, 999, 1500, family),
    },
  ]
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
  if (services.some(isTranslated)) {
    await tables.setPools(poolsOf(services))
    for (const family of [4, 6] as const)
      await tables.setClientRoutes(family, clientRoutes(family, interfaces))
  }
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
