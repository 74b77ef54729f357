/** What a tunnel puts ahead of a packet, and what of it a backend's record says. Pure. */
import { addressBytes, addressFamily } from '../address.js'
import { type Forward, isTunnel, type TunnelForward } from '../model.js'
import { backendFlags, forwardMode } from './layout.js'

/** Bytes of headers. */
const OUTER = { 4: 20, 6: 40 } as const
const GRE = 4
const GRE_KEY = 4
const UDP = 8
const GUE = 4

/** A tunnel to a backend. */
export interface Tunnel {
  readonly forward: TunnelForward
  /** The outer source, as it is configured; null: the address that the kernel prefers for the route. */
  readonly source: OuterSource | null
}

/** An address of 16 bytes (IPv4 mapped), of which the last `spread` bits are the flow hash's. */
export interface OuterSource {
  readonly address: Uint8Array
  readonly spread: number
}

const isSameSource = (a: OuterSource | null, b: OuterSource | null): boolean =>
  a === b || (a !== null && b !== null && a.spread === b.spread && Buffer.compare(a.address, b.address) === 0)

export const isSameTunnel = (a: Tunnel | null = null, b: Tunnel | null = null): boolean =>
  a === b ||
  (a !== null &&
    b !== null &&
    isSameSource(a.source, b.source) &&
    JSON.stringify(a.forward) === JSON.stringify(b.forward))

/** As much of the flow hash as there is: a wider prefix's other bits are 0. */
const MAX_SPREAD = 64

/** @param text "10.0.0.1" or "10.9.0.0/16" */
export const outerSource = (text: string): OuterSource => {
  const [address = text, length] = text.split('/')
  const bits = addressFamily(address) === 4 ? 32 : 128
  const spread = length === undefined ? 0 : Math.min(MAX_SPREAD, bits - Number(length))
  return { address: addressBytes(address), spread }
}

/** Bytes between the outer IP header and the packet. */
export const shimBytes = (forward: TunnelForward): number => {
  switch (forward.mode) {
    case 'ipip':
      return 0
    case 'gre':
      return GRE + (forward.key === null ? 0 : GRE_KEY)
    case 'gue':
      return UDP + (forward.variant === 0 ? GUE : 0)
  }
}

/** How much longer a packet becomes on its way to a backend. @param address the backend's: the outer destination */
export const overheadOf = (forward: Forward, address: string): number =>
  isTunnel(forward) ? OUTER[addressFamily(address)] + shimBytes(forward) : 0

/**
 * The longest packet that may go to a backend.
 *
 * @param pathMtu of the packet as it leaves
 */
export const innerMtu = (pathMtu: number, forward: Forward, address: string): number =>
  Math.min(0xffff, Math.max(0, pathMtu - overheadOf(forward, address)))

const modes = {
  dr: forwardMode.FORWARD_DR,
  ipip: forwardMode.FORWARD_IPIP,
  gre: forwardMode.FORWARD_GRE,
  gue: forwardMode.FORWARD_GUE,
  nat: forwardMode.FORWARD_NAT,
  fullnat: forwardMode.FORWARD_FULLNAT,
} as const

const NO_SOURCE: OuterSource = { address: new Uint8Array(16), spread: 0 }

/** The GUE port lies in the key's first two bytes. */
const keyOf = (forward: Forward): number =>
  forward.mode === 'gre' ? (forward.key ?? 0) : forward.mode === 'gue' ? forward.port * 2 ** 16 : 0

const flagsOf = (forward: Forward): number => {
  if (forward.mode === 'gre' && forward.key !== null) return backendFlags.BACKEND_KEYED
  return forward.mode === 'gue' && forward.variant === 1 ? backendFlags.BACKEND_BARE : 0
}

/** Of a backend's record: how packets are forwarded to it. @param source null: not known yet */
export const forwardFields = (forward: Forward, source: OuterSource | null) => {
  const { address, spread } = source ?? NO_SOURCE
  return { mode: modes[forward.mode], flags: flagsOf(forward), key: keyOf(forward), source: address, spread }
}
