/** What a backend host is to be: values only, made of flags or of the balancer's configuration. */
import { addressFamily } from '../address.js'

export type TunnelMode = 'ipip' | 'gre' | 'gue'
export type Family = 4 | 6

/** A tunnel that leads here. */
export interface Tunnel {
  readonly mode: TunnelMode
  /** Bytes between the outer and the inner IP header. */
  readonly between: number
  /** Family of the outer header; null: that of any of this host's addresses. */
  readonly outer: Family | null
  /** Family of what it carries; null: that of any VIP. */
  readonly inner: Family | null
}

export interface Prefix {
  /** Canonical text. */
  readonly address: string
  readonly bits: number
}

/** The MSS that this host announces: reckoned from the interfaces' MTU, from a longest packet, as given, or left alone. */
export type MssWish =
  | { readonly kind: 'reckoned' }
  | { readonly kind: 'mtu'; readonly mtu: number }
  | { readonly kind: 'advmss'; readonly advmss: number }
  | { readonly kind: 'kept' }

/** Processes are told of the clients behind a balancer that makes the connections itself (FULLNAT). */
export interface ToaWanted {
  /** The balancers' local addresses: who is believed; none: anybody. */
  readonly sources: readonly Prefix[]
  /** Whose processes: a directory; null: the root, all of this host's. */
  readonly cgroup: string | null
}

export interface Wanted {
  /** Canonical text, each once; none: nothing comes to a VIP here. */
  readonly vips: readonly string[]
  /** Names of those that the balancer's packets come in by; none: those that have the addresses. */
  readonly interfaces: readonly string[]
  /** This host's addresses that the balancer sends to; null: all of the interfaces'. */
  readonly addresses: readonly string[] | null
  /** None: direct routing. */
  readonly tunnels: readonly Tunnel[]
  /** UDP ports of GUE. */
  readonly ports: readonly number[]
  /** Outer sources that are believed; none: all. */
  readonly sources: readonly Prefix[]
  readonly xdp: 'auto' | 'native' | 'generic'
  readonly mss: MssWish
  /** null: nothing reads TCP option 254. */
  readonly toa: ToaWanted | null
}

export const DEFAULT_GUE_PORT = 6080

/** Bytes of GRE and GUE headers at their longest: with a key; UDP and GUE's own. */
const LONGEST_BETWEEN: Readonly<Record<TunnelMode, number>> = { ipip: 0, gre: 8, gue: 12 }

/** A tunnel of which only the mode is known. */
export const anyTunnel = (mode: TunnelMode): Tunnel => ({
  mode,
  between: LONGEST_BETWEEN[mode],
  outer: null,
  inner: null,
})

const OUTER_HEADER: Readonly<Record<Family, number>> = { 4: 20, 6: 40 }
/** IP and TCP headers without options. */
const HEADERS: Readonly<Record<Family, number>> = { 4: 40, 6: 60 }

/**
 * The most that tunnels add to a packet of a family.
 *
 * @param addresses this host's, that tunnels lead to
 */
const overhead = (tunnels: readonly Tunnel[], inner: Family, addresses: readonly string[]): number => {
  const families = new Set(addresses.map(addressFamily))
  const outer = (tunnel: Tunnel): number =>
    OUTER_HEADER[tunnel.outer ?? (families.has(6) || families.size === 0 ? 6 : 4)]
  return Math.max(
    0,
    ...tunnels
      .filter(tunnel => tunnel.inner === null || tunnel.inner === inner)
      .map(tunnel => outer(tunnel) + tunnel.between),
  )
}

/**
 * The MSS that a client is to be told, so that its packets fit through the tunnels.
 *
 * @param mtu the interface's
 * @returns   null: nothing is in the way
 */
export const announcedMss = (
  { mss, tunnels }: Pick<Wanted, 'mss' | 'tunnels'>,
  inner: Family,
  mtu: number,
  addresses: readonly string[],
): number | null => {
  if (mss.kind === 'kept') return null
  if (mss.kind === 'advmss') return mss.advmss
  if (mss.kind === 'mtu') return mss.mtu - HEADERS[inner]
  const added = overhead(tunnels, inner, addresses)
  return added === 0 ? null : mtu - added - HEADERS[inner]
}

/** What the kernel announces by itself for a packet size. */
export const ordinaryMss = (inner: Family, mtu: number): number => mtu - HEADERS[inner]
