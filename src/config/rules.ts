/** What an address, a port or a name may be: the same for the file and for a change at run time. */
import { addressBytes, addressFamily, canonicalAddress } from '../address.js'
import type { Forward, Listen } from '../model.js'

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

/** How a backend's address fits its service's VIP. */
export const backendAddressRule = (address: string, vip: string, forward: Forward): Broken => {
  if (address === vip) return `${address} is the VIP itself`
  if (forward === 'dr' && addressFamily(address) !== addressFamily(vip))
    return `${address} is IPv${addressFamily(address)}, the VIP ${vip} is not: direct routing leaves the packet as it is`
  return null
}

/** How a backend's own port fits its service's. */
export const backendPortRule = (port: number, servicePort: number, forward: Forward): Broken => {
  if (forward !== 'dr' || port === servicePort) return null
  return servicePort === 0
    ? `${port}: a service on every port has backends without one`
    : `${port} differs from the service's ${servicePort}: direct routing leaves the packet as it is`
}

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
