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
  /** null: direct routing. */
  readonly tunnel: Tunnel | null
}

export interface InterfaceEntry {
  readonly ifindex: number
  readonly mac: string
  /** Bytes of an IP packet. */
  readonly mtu: number
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
}
