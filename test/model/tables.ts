/** What the data plane is told, as plain data: the model reads it, and a fixture writes the same into the maps. */
import type { Service } from '../../src/model.js'

export interface ServiceEntry
  extends Pick<Service, 'name' | 'vip' | 'port' | 'protocol' | 'ringSize' | 'hash' | 'noBackend'> {
  readonly id: number
  /** The flow hash's key, the service's identity folded in by whoever made it: here, any 64 bits. */
  readonly hashSeed: bigint
  /** The owner of each slot: a backend's id, 0 for none. */
  readonly slots: Uint32Array
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
}

export interface InterfaceEntry {
  readonly ifindex: number
  readonly mac: string
}

export interface Tables {
  /** Odd 64-bit multipliers. */
  readonly hashKeys: readonly [bigint, bigint, bigint, bigint]
  readonly services: readonly ServiceEntry[]
  readonly backends: readonly BackendEntry[]
  readonly interfaces: readonly InterfaceEntry[]
}
