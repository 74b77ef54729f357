/** The command line's words as what is wanted. Pure; wrong words are usage errors. */
import { addressFamily, canonicalAddress } from '../address.js'
import { BalancerError } from '../errors.js'
import {
  anyTunnel,
  DEFAULT_GUE_PORT,
  type MssWish,
  type Prefix,
  type ToaWanted,
  type TunnelMode,
  type Wanted,
} from './wanted.js'

/** As they are given; lists already taken apart. */
export interface Flags {
  readonly vip?: readonly string[]
  readonly interface?: readonly string[]
  readonly address?: readonly string[]
  readonly forward?: readonly string[]
  readonly port?: readonly string[]
  readonly fromBalancer?: readonly string[]
  readonly mtu?: number
  /** `false`: --no-advmss. */
  readonly advmss?: number | boolean
  readonly xdp?: 'auto' | 'native' | 'generic'
  /** `false`: --no-toa. */
  readonly toa?: boolean
  readonly toaFrom?: readonly string[]
  readonly cgroup?: string
}

const usage = (message: string, hint?: string): BalancerError =>
  new BalancerError('ERR_USAGE', message, hint === undefined ? {} : { hint })

const addresses = (words: readonly string[]): string[] => [
  ...new Set(
    words.map(word => {
      const address = canonicalAddress(word)
      if (address === null) throw usage(`"${word}" is not an IP address`)
      return address
    }),
  ),
]

const prefix = (word: string): Prefix => {
  const [text = '', bitsText] = word.split('/', 2)
  const address = canonicalAddress(text)
  const most = address === null ? 0 : addressFamily(address) === 4 ? 32 : 128
  const bits = bitsText === undefined ? most : /^\d{1,3}$/.test(bitsText) ? Number(bitsText) : most + 1
  if (address === null || bits > most) throw usage(`"${word}" is not a prefix such as 10.0.0.0/24`)
  return { address, bits }
}

const port = (word: string): number => {
  const value = /^\d{1,5}$/.test(word) ? Number(word) : 0
  if (value < 1 || value > 65535) throw usage(`"${word}" is not a port`)
  return value
}

const modes = (words: readonly string[]): TunnelMode[] => {
  for (const word of words)
    if (!['dr', 'ipip', 'gre', 'gue'].includes(word))
      throw usage(`"${word}" is no mode`, 'there are dr, ipip, gre and gue')
  return [...new Set(words.filter((word): word is TunnelMode => word !== 'dr'))]
}

const mssWish = ({ mtu, advmss }: Flags): MssWish => {
  if (mtu !== undefined && typeof advmss === 'number') throw usage('give either --mtu or --advmss')
  if (mtu !== undefined) return { kind: 'mtu', mtu }
  if (typeof advmss === 'number') return { kind: 'advmss', advmss }
  return { kind: advmss === false ? 'kept' : 'reckoned' }
}

/**
 * @param told   by the configuration: who sends TCP option 254, none: anybody; null: nothing is told
 * @returns null: it is not wanted
 */
export const toaWanted = (flags: Flags, told: readonly Prefix[] | null): ToaWanted | null => {
  const { toa, toaFrom, cgroup } = flags
  if (toa === false || (!toa && told === null)) {
    if (toaFrom || cgroup !== undefined) throw usage(`${toaFrom ? '--toa-from' : '--cgroup'} goes with --toa`)
    return null
  }
  return { sources: [...(told ?? []), ...(toaFrom ?? []).map(prefix)], cgroup: cgroup ?? null }
}

/** What flags say apart from the services: the same with and without a configuration. */
export const hostPart = (flags: Flags): Pick<Wanted, 'interfaces' | 'sources' | 'xdp' | 'mss'> => ({
  interfaces: flags.interface ?? [],
  sources: (flags.fromBalancer ?? []).map(prefix),
  xdp: flags.xdp ?? 'auto',
  mss: mssWish(flags),
})

/** @throws BalancerError `ERR_USAGE` */
export const wantedFromFlags = (flags: Flags): Wanted => {
  const vips = addresses(flags.vip ?? [])
  const toa = toaWanted(flags, null)
  const isToaAlone = toa !== null && !flags.interface && !flags.address && !flags.forward && !flags.port
  if (vips.length === 0 && !isToaAlone)
    throw usage(
      'no VIP is given',
      '--vip ADDRESS, or --from FILE --as BACKEND with the balancer’s configuration',
    )
  if (vips.length > 0 && !flags.interface && !flags.address)
    throw usage('no interface is given', '--interface NAME: the one that the balancer’s packets come in by')
  return {
    ...hostPart(flags),
    vips,
    addresses: flags.address ? addresses(flags.address) : null,
    tunnels: modes(flags.forward ?? ['dr']).map(anyTunnel),
    ports: flags.port ? flags.port.map(port) : [DEFAULT_GUE_PORT],
    toa,
  }
}
