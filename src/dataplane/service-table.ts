/** The service table (bpf/service.h): services, and their VIPs. */
import { serviceLayout, serviceState } from './layout.js'
import { bucketsForEntries, createOpenTable, type OpenTable, type TableKey } from './open-table.js'

export { SERVICE_PROBES, serviceBucket } from './open-table.js'

/** Its own, and its VIP's. */
const ENTRIES_PER_SERVICE = 2

/** Of a VIP's own entry the protocol is IPPROTO_ICMP or IPPROTO_ICMPV6. */
export type ServiceKey = TableKey

export interface ServiceEntry extends ServiceKey {
  readonly flags: number
  /** FULLNAT: the index of its pool; absent: 0. */
  readonly pool?: number
  /** Units of the flow clock. */
  readonly idle: number
  readonly ringBase: number
  readonly ringSize: number
  readonly hashSeed: bigint
  readonly hashMask: bigint
  readonly id: number
}

/** Buckets for so many services: a power of two. */
export const bucketsFor = (services: number): number =>
  bucketsForEntries(Math.max(services, 1) * ENTRIES_PER_SERVICE)

export type ServiceTable = OpenTable<ServiceEntry>

const format = {
  layout: serviceLayout,
  encode: (entry: ServiceEntry) =>
    serviceLayout.encode({ pool: 0, ...entry, state: serviceState.SERVICE_USED }),
  decode: (record: Uint8Array): ServiceEntry => serviceLayout.decode(record),
}

/** The parameters are createOpenTable's. */
export const createServiceTable = (
  memory: ArrayBuffer,
  seed: number,
  graceMs: number,
  now: () => number,
): ServiceTable => createOpenTable(format, memory, seed, graceMs, now)
