/** What a configured service means for the data plane. Pure. */
import { addressBytes } from '../address.js'
import { hashMask, hashSeed } from '../flow-hash.js'
import type { Protocol, Service } from '../model.js'
import { unitsOf } from './flow-clock.js'
import { serviceFlags } from './layout.js'
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

/** @param seed 32 hex digits: keys the flow hash */
export const serviceEntryOf = (
  service: Service,
  { id, slots: { base, size } }: ServicePlace,
  seed: string,
): ServiceEntry => ({
  addr: addressBytes(service.vip),
  port: service.port,
  protocol: IPPROTO[service.protocol],
  flags:
    (service.noBackend === 'reject' ? serviceFlags.SERVICE_REJECT : 0) |
    (synOpens(service) ? serviceFlags.SERVICE_SYN_OPENS : 0) |
    (service.mss === 'clamp' ? serviceFlags.SERVICE_CLAMP_MSS : 0),
  idle: unitsOf(idleMs(service)),
  ringBase: base,
  ringSize: size,
  hashSeed: hashSeed(seed, service),
  hashMask: hashMask(service.hash),
  id,
})
