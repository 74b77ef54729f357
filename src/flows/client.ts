/** Which clients are meant: an address, a prefix, or one address and port. Pure. */
import { isIPv4 } from 'node:net'
import { addressBytes, canonicalAddress } from '../address.js'

/** `net`: 16 bytes, IPv4 mapped, what lies beyond `bits` zero. */
export interface Clients {
  readonly net: Uint8Array
  readonly bits: number
  readonly family: 4 | 6
  /** null: every port. */
  readonly port: number | null
}

const MAPPED_BITS = 96

const masked = (bytes: Uint8Array, bits: number): Uint8Array =>
  bytes.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, bits - 8 * i))) & 0xff)

/**
 * @param text "192.0.2.1", "192.0.2.0/24", "2001:db8::/32", "192.0.2.1:4321", "[2001:db8::1]:4321"
 * @returns    null when it is none of these
 */
export const parseClients = (text: string): Clients | null => {
  const [, bracketed, dotted, digits] = /^(?:\[(.+)\]|([\d.]+)):(\d{1,5})$/.exec(text) ?? []
  const [word = '', length, ...more] = (bracketed ?? dotted ?? text).split('/')
  const address = canonicalAddress(word)
  if (address === null || more.length > 0) return null
  const port = digits === undefined ? null : Number(digits)
  if (port !== null && (port < 1 || port > 65535 || length !== undefined)) return null
  if (bracketed !== undefined && isIPv4(word)) return null
  const family = isIPv4(address) ? 4 : 6
  const [most, mapped] = family === 4 ? [32, MAPPED_BITS] : [128, 0]
  if (length !== undefined && (!/^\d{1,3}$/.test(length) || Number(length) > most)) return null
  const bits = mapped + (length === undefined ? most : Number(length))
  return { net: masked(addressBytes(address), bits), bits, family, port }
}

const isMapped = (bytes: Uint8Array, at: number): boolean => {
  for (let i = 0; i < 10; i++) if (bytes[at + i] !== 0) return false
  return bytes[at + 10] === 0xff && bytes[at + 11] === 0xff
}

/** Whether the 16 bytes from `at` on are an address of these. */
export const includes = ({ net, bits, family }: Clients, bytes: Uint8Array, at: number): boolean => {
  const whole = bits >> 3
  for (let i = 0; i < whole; i++) if (bytes[at + i] !== net[i]) return false
  const rest = bits & 7
  if (rest !== 0 && (bytes[at + whole]! & (0xff00 >> rest) & 0xff) !== net[whole]) return false
  return family === 4 || !isMapped(bytes, at)
}
