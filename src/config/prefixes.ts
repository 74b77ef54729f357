/** What a prefix, a set of local addresses, a range of ports may be. Pure. */
import { addressBytes, addressFamily, addressText, canonicalAddress, shortAddressBytes } from '../address.js'
import type { PortRange } from '../model.js'
import { endsIn0, hostAddressRule, networkOf, parseHostAddress } from './rules.js'

interface Wrong {
  readonly broken: string
  readonly hint?: string
}

/** As one entry of `local-addresses` says it. */
export interface LocalAddresses {
  /** In canonical text. */
  readonly text: string
  /** All of them. */
  readonly addresses: readonly string[]
}

/** Numbers of local addresses: local_addresses of bpf/connection.h. */
export const MAX_LOCAL_ADDRESSES = 256

interface Parts {
  readonly address: string
  readonly length: number
  /** Of the family. */
  readonly bits: number
}

/** @param text an address, or one with a length */
const partsOf = (text: string): Parts | Wrong => {
  const [, base = text, digits] = /^([^/]*)\/(\d{1,3})$/.exec(text) ?? []
  const address = canonicalAddress(base)
  if (address === null) return { broken: `must be an address or a prefix such as 10.1.0.0/28, not ${text}` }
  const bits = addressFamily(address) === 4 ? 32 : 128
  const length = digits === undefined ? bits : Number(digits)
  if (length > bits) return { broken: `${text} is no prefix: IPv${addressFamily(address)} has ${bits} bits` }
  const bytes = shortAddressBytes(address)
  if (!endsIn0(bytes, length))
    return {
      broken: `${text} has bits set behind the prefix`,
      hint: `the prefix is ${networkOf(bytes, length)}/${length}, the address ${address}`,
    }
  return { address, length, bits }
}

/** The address `count` after another; below 2^16 of them. */
const plus = (address: string, count: number): string => {
  const bytes = addressBytes(address)
  const end = new DataView(bytes.buffer)
  end.setUint16(14, end.getUint16(14) | count)
  return addressText(bytes)
}

/** Text -> every address of it, or what is wrong with it. */
export const parseLocalAddresses = (text: string): LocalAddresses | Wrong => {
  if (!text.includes('/')) {
    const parsed = parseHostAddress(text)
    return 'broken' in parsed ? parsed : { text: parsed.address, addresses: [parsed.address] }
  }
  const parts = partsOf(text)
  if ('broken' in parts) return parts
  const { address, length, bits } = parts
  const count = 2 ** (bits - length)
  if (count > MAX_LOCAL_ADDRESSES)
    return { broken: `${text} has ${count} addresses: at most ${MAX_LOCAL_ADDRESSES}` }
  const addresses = Array.from({ length: count }, (_, i) => plus(address, i))
  const broken = addresses.flatMap(one => {
    const rule = hostAddressRule(one)
    return rule === null ? [] : [`${one} ${rule}`]
  })
  if (broken.length > 0) return { broken: broken[0]! }
  return { text: count === 1 ? address : `${address}/${length}`, addresses }
}

/** Text -> a prefix in canonical text, an address as one of full length, or what is wrong with it. */
export const parsePrefix = (text: string): { readonly prefix: string } | Wrong => {
  const parts = partsOf(text)
  return 'broken' in parts ? parts : { prefix: `${parts.address}/${parts.length}` }
}

/** Whether an address lies in a prefix, both in canonical text. */
export const isInPrefix = (address: string, prefix: string): boolean => {
  const [net = '', length] = prefix.split('/')
  if (addressFamily(net) !== addressFamily(address)) return false
  return networkOf(shortAddressBytes(address), Number(length)) === net
}

/** "1024-65535", or one port. */
export const parsePortRange = (text: string): PortRange | Wrong => {
  const [, from, to = from] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? []
  const [first, last] = [Number(from), Number(to)]
  if (from === undefined || first < 1 || last > 65535)
    return { broken: `must be a range of ports from 1 to 65535 such as 1024-65535, not ${text}` }
  if (first > last) return { broken: `${text} ends before it begins` }
  return { first, last }
}
