/** What an address, a port or a name may be: the same for the file and for a change at run time. */
import { addressBytes, addressFamily, addressText, canonicalAddress, shortAddressBytes } from '../address.js'
import { type ForwardMode, isTranslated, type Listen } from '../model.js'

/** A rule that is broken, in words that go on from the thing's name: "is a multicast address". */
export type Broken = string | null

const ipv4Ranges: readonly (readonly [first: number, last: number, what: string])[] = [
  [0, 0, 'is of 0.0.0.0/8: no host has such an address'],
  [127, 127, 'is a loopback address'],
  [224, 239, 'is a multicast address'],
  [240, 255, 'is of the reserved 240.0.0.0/4, or the broadcast address'],
]

const ipv6Rule = (bytes: Uint8Array): Broken => {
  const zeros = bytes.findIndex(byte => byte !== 0)
  if (zeros === -1) return 'is the unspecified address'
  if (zeros === 15 && bytes[15] === 1) return 'is the loopback address'
  if (zeros === 10 && bytes[10] === 0xff && bytes[11] === 0xff)
    return 'is an IPv4-mapped address: write it as IPv4'
  if (zeros >= 12) return 'is an IPv4-compatible address, which nothing uses any more (RFC 4291)'
  if (bytes[0] === 0xff) return 'is a multicast address'
  if (bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80)
    return 'is a link-local address: no interface is known for it'
  return null
}

/** Whether an address, in canonical text, can be one host's. */
export const hostAddressRule = (address: string): Broken => {
  if (addressFamily(address) === 6) return ipv6Rule(addressBytes(address))
  const first = Number.parseInt(address, 10)
  return ipv4Ranges.find(([from, to]) => first >= from && first <= to)?.[2] ?? null
}

/** Text -> canonical address of a host, or what is wrong with it. */
export const parseHostAddress = (
  text: string,
): { readonly address: string } | { readonly broken: string } => {
  const address = canonicalAddress(text)
  if (address === null) return { broken: notAnAddress(text) }
  const broken = hostAddressRule(address)
  return broken === null ? { address } : { broken: `${text} ${broken}` }
}

const notAnAddress = (text: string): string => {
  if (text.includes('%')) return `${text} names a zone, which only link-local addresses have`
  if (/^\d+(\.\d+){3}$/.test(text) && /(^|\.)0\d/.test(text))
    return `${text} has leading zeros, which some read as octal`
  if (text.includes('/')) return `${text} is a prefix: an address has no /length`
  return `${JSON.stringify(text)} is no IPv4 or IPv6 address`
}

/** Fewer fixed bits leave no network of anybody's. */
const MIN_PREFIX = { 4: 8, 6: 16 } as const

/** Whether the bits of an address from `length` on are all 0. */
export const endsIn0 = (address: Uint8Array, length: number): boolean =>
  address.every((byte, i) => (byte & (0xff >> Math.min(8, Math.max(0, length - 8 * i)))) === 0)

/** The network that an address lies in, in canonical text. */
export const networkOf = (address: Uint8Array, length: number): string =>
  addressText(address.map((byte, i) => byte & ~(0xff >> Math.min(8, Math.max(0, length - 8 * i)))))

/**
 * Text -> the outer source of tunnels, "10.0.0.1" or "10.9.0.0/16" in canonical text, or what is wrong with it.
 */
export const parseTunnelSource = (
  text: string,
): { readonly source: string } | { readonly broken: string; readonly hint?: string } => {
  const [, base = text, digits] = /^([^/]*)\/(\d{1,3})$/.exec(text) ?? []
  const parsed = parseHostAddress(base)
  if ('broken' in parsed) return parsed
  const { address } = parsed
  if (digits === undefined) return { source: address }
  const family = addressFamily(address)
  const bytes = shortAddressBytes(address)
  const length = Number(digits)
  if (length > bytes.length * 8)
    return { broken: `${text} is no prefix: IPv${family} has ${bytes.length * 8} bits` }
  if (length < MIN_PREFIX[family]) return { broken: `${text} is too wide: at least /${MIN_PREFIX[family]}` }
  if (length === bytes.length * 8) return { source: address }
  if (!endsIn0(bytes, length))
    return {
      broken: `${text} has bits set behind the prefix`,
      hint: `the prefix is ${networkOf(bytes, length)}/${length}, the address ${address}`,
    }
  return { source: `${address}/${length}` }
}

/** How a backend's address fits its service's VIP. */
export const backendAddressRule = (address: string, vip: string, mode: ForwardMode): Broken => {
  if (address === vip) return `${address} is the VIP itself`
  const why = { dr: 'direct routing leaves the packet as it is', nat: 'nat leaves its source as it is' }
  if ((mode === 'dr' || mode === 'nat') && addressFamily(address) !== addressFamily(vip))
    return `${address} is IPv${addressFamily(address)}, the VIP ${vip} is not: ${why[mode]}`
  return null
}

/** How a backend's own port fits its service's: only nat and fullnat change it. */
export const backendPortRule = (port: number, servicePort: number, mode: ForwardMode): Broken => {
  if (port === servicePort) return null
  if (servicePort === 0) return `${port}: a service on every port has backends without one`
  if (isTranslated(mode)) return null
  const why = mode === 'dr' ? 'direct routing leaves' : `the tunnel (${mode}) leaves`
  return `${port} differs from the service's ${servicePort}: ${why} the packet as it is`
}

/** How an outer source fits a backend's address. */
export const backendSourceRule = (source: string, address: string): Broken =>
  addressFamily(source) === addressFamily(address)
    ? null
    : `${source} is IPv${addressFamily(source)}, the backend ${address} is not: the outer header is of the backend's family`

/** Names of backends: what is a word on a command line, and may follow "service/". */
export const backendNameRule = (name: string): Broken => {
  if (name === '') return 'must not be empty'
  if (name.length > 80) return `has ${name.length} characters: at most 80`
  return /^[^\s/\p{C}]+$/u.test(name) ? null : 'must be of printable characters without spaces and slashes'
}

/** "127.0.0.1:9464", "[::1]:9464", "localhost:9464", ":9464" -> where to listen; null: it is none of them. */
export const parseListen = (text: string): Listen | null => {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([\w.-]*)):(\d{1,5})$/.exec(text) ?? []
  const port = Number(digits)
  if (digits === undefined || port < 1 || port > 65535) return null
  const isName = bracketed === undefined && !/^[\d.]+$/.test(plain!)
  const address = isName ? plain! : canonicalAddress(bracketed ?? plain!)
  if (address === null || (bracketed !== undefined && addressFamily(address) === 4)) return null
  return { address, port }
}

/** A MAC address in canonical text that can be one host's. */
export const hostMacRule = (mac: string): Broken => {
  if (mac === '00:00:00:00:00:00') return `${mac} is no host's address`
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1 ? `${mac} is a multicast address` : null
}

/** The name of a backend that has none of its own. */
export const defaultBackendName = (address: string, port: number | null): string => {
  if (port === null) return address
  return `${addressFamily(address) === 6 ? `[${address}]` : address}:${port}`
}
