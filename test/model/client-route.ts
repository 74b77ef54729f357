/** The way to a client: the longest prefix that holds its address. */
import { address } from '../fixtures/addresses.js'
import type { ClientRoute, Tables } from './tables.js'

export const isWithin = (host: Uint8Array, net: string, bits: number): boolean => {
  const prefix = address(net)
  if (prefix.length !== host.length) return false
  for (let bit = 0; bit < bits; bit++) {
    const mask = 0x80 >> (bit & 7)
    if ((prefix[bit >> 3]! & mask) !== (host[bit >> 3]! & mask)) return false
  }
  return true
}

export const findClientRoute = (tables: Tables, client: Uint8Array): ClientRoute | undefined =>
  [...(tables.clientRoutes ?? [])]
    .sort((a, b) => b.bits - a.bits)
    .find(({ net, bits }) => isWithin(client, net, bits))
