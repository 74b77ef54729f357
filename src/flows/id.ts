/** What names one connection to people: its place, and a sum of whose it is, so that its port's next owner is not it. Pure. */
import type { ConnectionRecord } from '../dataplane/connections.js'

const FNV_OFFSET = 0x811c9dc5
const FNV_PRIME = 0x01000193

/** FNV-1a, 32 bits. */
const sumOf = (bytes: ArrayLike<number>, from: number): number => {
  let sum = from
  for (let i = 0; i < bytes.length; i++) sum = Math.imul(sum ^ bytes[i]!, FNV_PRIME)
  return sum
}

/** "66560:1f9a0c33". */
export const connectionId = (index: number, record: ConnectionRecord): string => {
  const { client, clientPort, server, serverPort, protocol } = record
  const ports = [clientPort >> 8, clientPort & 0xff, serverPort >> 8, serverPort & 0xff, protocol]
  const sum = sumOf(ports, sumOf(server, sumOf(client, FNV_OFFSET)))
  return `${index}:${(sum >>> 0).toString(16).padStart(8, '0')}`
}

/** The place that an id names; null: it is none. */
export const indexOfId = (id: string): number | null => {
  const [, digits] = /^(\d{1,9}):[0-9a-f]{8}$/.exec(id) ?? []
  return digits === undefined ? null : Number(digits)
}
