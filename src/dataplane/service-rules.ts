/** What a configured service means for the data plane. Pure. */
import { addressBytes } from '../address.js'
import { hashMask, hashSeed } from '../flow-hash.js'
import {
  DEFAULT_IDLE_TIME_MS,
  DEFAULT_TIMEOUTS,
  DEFAULT_UDP_IDLE_TIME_MS,
  type Protocol,
  type Service,
} from '../model.js'
import { unitsOf } from './flow-clock.js'
import { connectionTimesLayout, serviceFlags } from './layout.js'
import type { ServiceEntry } from './service-table.js'

export const IPPROTO: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17 }

export const protocolOf = (number: number): Protocol => (number === IPPROTO.tcp ? 'tcp' : 'udp')

export const isTracking = ({ tracking }: Service): boolean => tracking !== 'never'

/** How long a silent flow is remembered. */
export const idleMs = ({ protocol, idleTimeMs, udpIdleTimeMs }: Service): number =>
  protocol === 'udp' ? udpIdleTimeMs : idleTimeMs

/** A SYN marks a new flow only where the whole tuple is hashed. */
const synOpens = ({ protocol, port, hash }: Service): boolean =>
  protocol === 'tcp' &&
  hash.includes('source') &&
  hash.includes('source-port') &&
  (port !== 0 || hash.includes('destination-port'))

/** Why a service that was found by one entry has its flows elsewhere by another; null: it has not. */
export const breakingEntry = (found: ServiceEntry, now: ServiceEntry): string | null => {
  const reasons = [
    ...(found.ringSize === now.ringSize ? [] : [`ring-size ${found.ringSize} -> ${now.ringSize}`]),
    ...(found.hashMask === now.hashMask ? [] : ['another hash']),
    ...(found.hashSeed === now.hashSeed ? [] : ['another seed']),
  ]
  return reasons.length === 0 ? null : reasons.join(', ')
}

/** Where a service lies. */
export interface ServicePlace {
  readonly id: number
  readonly slots: { readonly base: number; readonly size: number }
}

/** What a service's backends make of it. */
export interface ServiceConnections {
  /** The index of its pool of IPv4 local addresses. */
  readonly pool: number
  /** Some backend is FULLNAT. */
  readonly fullnat: boolean
  /** Some backend is NAT by flow. */
  readonly byFlow: boolean
}

const noConnections: ServiceConnections = { pool: 0, fullnat: false, byFlow: false }

const connectionFlags = (
  { protocol, translation }: Service,
  { fullnat, byFlow }: ServiceConnections,
): number =>
  (fullnat || byFlow ? serviceFlags.SERVICE_CONNECTIONS : 0) |
  (fullnat && protocol === 'tcp' && (translation?.toa ?? true) ? serviceFlags.SERVICE_TOA : 0)

const seconds = (ms: number): number => Math.min(0xffff, Math.ceil(ms / 1000))

/** How long connections live, by state; without a service: SNAT's. */
export const connectionTimesOf = (
  service: Pick<Service, 'idleTimeMs' | 'udpIdleTimeMs' | 'translation'> = {
    idleTimeMs: DEFAULT_IDLE_TIME_MS,
    udpIdleTimeMs: DEFAULT_UDP_IDLE_TIME_MS,
  },
): Uint8Array => {
  const { timeouts = DEFAULT_TIMEOUTS } = service.translation ?? {}
  return connectionTimesLayout.encode({
    synSent: seconds(timeouts.synSentMs),
    synReceived: seconds(timeouts.synReceivedMs),
    established: seconds(service.idleTimeMs),
    finWait: seconds(timeouts.finWaitMs),
    closeWait: seconds(timeouts.closeWaitMs),
    lastAck: seconds(timeouts.lastAckMs),
    timeWait: seconds(timeouts.timeWaitMs),
    close: seconds(timeouts.closeMs),
    udp: seconds(service.udpIdleTimeMs),
    udpOnce: seconds(timeouts.udpOnceMs),
  })
}

/** @param seed 32 hex digits: keys the flow hash */
export const serviceEntryOf = (
  service: Service,
  { id, slots: { base, size } }: ServicePlace,
  seed: string,
  connections = noConnections,
): ServiceEntry => ({
  addr: addressBytes(service.vip),
  port: service.port,
  protocol: IPPROTO[service.protocol],
  flags:
    (service.noBackend === 'reject' ? serviceFlags.SERVICE_REJECT : 0) |
    (synOpens(service) ? serviceFlags.SERVICE_SYN_OPENS : 0) |
    (service.mss === 'clamp' ? serviceFlags.SERVICE_CLAMP_MSS : 0) |
    connectionFlags(service, connections),
  pool: connections.fullnat ? connections.pool : 0,
  idle: unitsOf(idleMs(service)),
  ringBase: base,
  ringSize: size,
  hashSeed: hashSeed(seed, service),
  hashMask: hashMask(service.hash),
  id,
})
