/** What the data plane is told, as plain data: the model reads it, and a fixture writes the same into the maps. */
import type { Service } from '../../src/model.js'

export interface ServiceEntry
  extends Pick<Service, 'name' | 'vip' | 'port' | 'protocol' | 'ringSize' | 'hash' | 'noBackend'> {
  readonly id: number
  /** The flow hash's key, the service's identity folded in by whoever made it: here, any 64 bits. */
  readonly hashSeed: bigint
  /** The owner of each slot: a backend's id, 0 for none. */
  readonly slots: Uint32Array
  /** A SYN's MSS is lowered to what the backend's path takes. */
  readonly clampsMss: boolean
  /** FULLNAT: the pool of its IPv4 local addresses; that of IPv6 comes after it. */
  readonly pool?: number
  /** FULLNAT: its backends are told the client's address. */
  readonly tellsClient?: boolean
  readonly times?: ConnectionTimes
}

/** How a packet gets to a backend that is not in the same segment. */
export interface Tunnel {
  readonly mode: 'ipip' | 'gre' | 'gue'
  /** The outer addresses: the backend's, whose family is the outer header's, and the balancer's. */
  readonly to: string
  readonly from: string
  /** So many of the last bits of `from` are the flow hash's. */
  readonly spread: number
  /** GRE: null is a header without a key. */
  readonly key: number | null
  /** GUE: the destination port, and whether it is variant 1, the packet right behind the UDP header. */
  readonly port: number
  readonly isBare: boolean
}

/** How a backend gets packets whose addresses are changed. */
export interface Translation {
  readonly mode: 'nat' | 'fullnat'
  /** The backend's own address. */
  readonly to: string
  /** 0: the packet's own. */
  readonly port: number
  /** NAT: its replies do not tell their service, only a connection does. */
  readonly isByFlow: boolean
}

export interface BackendEntry {
  /** 1 to 2^20 - 1. */
  readonly id: number
  readonly service: number
  readonly nextHopMac: string
  readonly interfaceMac: string
  /** The way out. */
  readonly ifindex: number
  readonly isResolved: boolean
  /** Bytes of the longest IP packet that the path takes, before it is encapsulated. */
  readonly mtu: number
  /** null: direct routing, or translated. */
  readonly tunnel: Tunnel | null
  readonly translation: Translation | null
}

export interface InterfaceEntry {
  readonly ifindex: number
  readonly mac: string
  /** Bytes of an IP packet. */
  readonly mtu: number
  /** Its own addresses, from which a router's errors come. */
  readonly address4?: string
  readonly address6?: string
}

/** The way to clients of a network; the longest prefix counts. */
export interface ClientRoute {
  readonly net: string
  readonly bits: number
  readonly kind: 'hop' | 'local' | 'none'
  readonly nextHopMac: string
  readonly interfaceMac: string
  readonly ifindex: number
  readonly mtu: number
}

/** Seconds without a packet after which a connection is over, by its state. */
export interface ConnectionTimes {
  readonly synSent: number
  readonly synReceived: number
  readonly established: number
  readonly finWait: number
  readonly closeWait: number
  readonly lastAck: number
  readonly timeWait: number
  readonly close: number
  readonly udp: number
  readonly udpOnce: number
}

/** Local addresses of one family, and the ports of each; in the order of their numbers. */
export interface Pool {
  /** Odd: IPv4; even: IPv6; 0, of NAT by flow, has none. */
  readonly index: number
  readonly addresses: readonly string[]
  readonly firstPort: number
  readonly ports: number
  readonly ranges: number
}

export interface Snat {
  readonly prefixes: readonly { readonly net: string; readonly bits: number }[]
  /** As `ServiceEntry.pool`. */
  readonly pool: number
  readonly times: ConnectionTimes
}

/** What becomes of echo requests to a VIP. */
export interface VipEntry {
  readonly vip: string
  readonly ping: 'answer' | 'pass' | 'drop'
}

export interface Tables {
  /** Odd 64-bit multipliers. */
  readonly hashKeys: readonly [bigint, bigint, bigint, bigint]
  readonly services: readonly ServiceEntry[]
  readonly backends: readonly BackendEntry[]
  readonly interfaces: readonly InterfaceEntry[]
  readonly vips: readonly VipEntry[]
  readonly clientRoutes?: readonly ClientRoute[]
  readonly pools?: readonly Pool[]
  readonly snat?: Snat
}
