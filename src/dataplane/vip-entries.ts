/**
 * Each VIP of a service has an entry of its own in the service table: what becomes of echo requests to it. It comes
 * before its first service, and goes with its last.
 */
import { addressBytes, addressFamily, addressText } from '../address.js'
import type { Ping, Service } from '../model.js'
import { serviceFlags } from './layout.js'
import type { ServiceEntry, ServiceTable } from './service-table.js'

const IPPROTO_ICMP = 1
const IPPROTO_ICMPV6 = 58
/** It has no counters. */
const NO_ID = 0xffff_ffff

const flags: Readonly<Record<Ping, number>> = {
  answer: serviceFlags.SERVICE_PING_ANSWER,
  drop: serviceFlags.SERVICE_PING_DROP,
  pass: 0,
}

export const isVipEntry = ({ protocol }: Pick<ServiceEntry, 'protocol'>): boolean =>
  protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6

export const vipEntryOf = ({ vip, ping }: Pick<Service, 'vip' | 'ping'>): ServiceEntry => ({
  addr: addressBytes(vip),
  port: 0,
  protocol: addressFamily(vip) === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6,
  flags: flags[ping],
  idle: 0,
  ringBase: 0,
  ringSize: 0,
  hashSeed: 0n,
  hashMask: 0n,
  id: NO_ID,
})

export interface VipEntries {
  /** False: no room; the table must be reseeded, and then has it. */
  put(service: Pick<Service, 'vip' | 'ping'>): boolean
  /** Those go that no service has. @param inUse VIPs */
  keepOnly(inUse: ReadonlySet<string>): void
  all(): readonly ServiceEntry[]
}

/**
 * @param found what the table holds already
 * @param table the one that is in use: another after a move
 */
export const createVipEntries = (found: readonly ServiceEntry[], table: () => ServiceTable): VipEntries => {
  const entries = new Map(found.filter(isVipEntry).map(entry => [addressText(entry.addr), entry] as const))
  /** VIPs that found no room; perhaps a reseeded table has them. */
  const missed = new Set<string>()
  return {
    put: service => {
      const { vip } = service
      const entry = vipEntryOf(service)
      if (entries.get(vip)?.flags === entry.flags && !missed.has(vip)) return true
      entries.set(vip, entry)
      const hasRoom = table().put(entry)
      if (hasRoom) missed.delete(vip)
      else missed.add(vip)
      return hasRoom
    },
    keepOnly: inUse => {
      for (const [vip, entry] of entries) {
        if (inUse.has(vip)) continue
        table().remove(entry)
        entries.delete(vip)
        missed.delete(vip)
      }
    },
    all: () => [...entries.values()],
  }
}
