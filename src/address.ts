/** IP and MAC addresses: canonical text and bytes. An IPv4 address in 16 bytes is the mapped one, ::ffff:a.b.c.d. */
import { isIPv4, isIPv6 } from 'node:net'
import ipaddr from 'ipaddr.js'

/** Whether a text is an IPv4 or an IPv6 address; by its looks alone, so only of text that is an address. */
export const addressFamily = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4)

/** IPv6 text of any spelling. ipaddr.js takes ::192.0.2.1 for a mapped address, so the dotted part is put in hex. */
const parseIPv6 = (text: string): ipaddr.IPv6 =>
  ipaddr.IPv6.parse(
    text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a: string, b: string, c: string, d: string) =>
      [Number(a) * 256 + Number(b), Number(c) * 256 + Number(d)].map(group => group.toString(16)).join(':'),
    ),
  )

/**
 * @param text four decimal parts without leading zeros, or any spelling of IPv6 (RFC 4291) without a zone
 * @returns    the canonical text (IPv6: RFC 5952), or null when it is no address
 */
export const canonicalAddress = (text: string): string | null => {
  if (isIPv4(text)) return text
  if (text.includes('%') || !isIPv6(text)) return null
  return parseIPv6(text).toRFC5952String()
}

/** The 16 bytes of an address in text form. The text must be an address. */
export const addressBytes = (address: string): Uint8Array => {
  if (addressFamily(address) === 6) return Uint8Array.from(parseIPv6(address).toByteArray())
  const bytes = new Uint8Array(16)
  bytes.fill(0xff, 10, 12)
  bytes.set(address.split('.').map(Number), 12)
  return bytes
}

const MAPPED_PREFIX_BYTES = 12

const isMapped = (bytes: Uint8Array): boolean =>
  bytes.subarray(0, 10).every(byte => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff

/** The canonical text of 4 or 16 bytes; a mapped address as IPv4. */
export const addressText = (bytes: Uint8Array): string => {
  if (bytes.length === 4) return bytes.join('.')
  if (isMapped(bytes)) return bytes.subarray(MAPPED_PREFIX_BYTES).join('.')
  return new ipaddr.IPv6([...bytes]).toRFC5952String()
}

/** The 4 or 16 bytes that the kernel's netlink interface wants. */
export const shortAddressBytes = (address: string): Uint8Array =>
  addressFamily(address) === 6 ? addressBytes(address) : addressBytes(address).subarray(MAPPED_PREFIX_BYTES)

/** @returns the canonical text, lower case with colons ("02:00:00:00:00:0c"), or null when it is no MAC address */
export const canonicalMac = (text: string): string | null =>
  /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text) ? text.toLowerCase() : null

/** The 6 bytes of a MAC address in text form. */
export const macBytes = (mac: string): Uint8Array =>
  Uint8Array.from(mac.split(':'), octet => Number.parseInt(octet, 16))

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** The canonical text of 6 bytes. */
export const macText = (bytes: Uint8Array): string => {
  let text = HEX[bytes[0]!]!
  for (let i = 1; i < bytes.length; i++) text += `:${HEX[bytes[i]!]}`
  return text
}
