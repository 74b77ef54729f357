/** A SYN's MSS option, lowered to what the path to the backend takes; the TCP checksum follows by RFC 1624. */
import { readU16, u16 } from '../fixtures/bytes.js'
import { onesComplementSum } from '../fixtures/checksum.js'
import type { ServicePacket } from './packet.js'

const [END, NO_OPERATION, MSS] = [0, 1, 2]
const SYN = 2

/** Where in the segment the MSS option's value is; null: there is no such option, or what is before it makes no sense. */
const mssAt = (segment: Uint8Array): number | null => {
  const end = Math.min(segment.length, (segment[12]! >> 4) * 4)
  for (let at = 20; at + 1 < end; ) {
    const [kind, length] = [segment[at], segment[at + 1]!]
    if (kind === END) return null
    if (kind === MSS) return length === 4 && at + 4 <= end ? at + 2 : null
    const step = kind === NO_OPERATION ? 1 : length
    if (step === 0 || at + step > end) return null
    at += step
  }
  return null
}

/** HC' = ~(~HC + ~m + m'), equation 3, of the words that the two bytes are in. */
const replaced = (segment: Uint8Array, at: number, value: number): Uint8Array => {
  const after = Uint8Array.from(segment)
  after.set(u16(value), at)
  const first = at - (at % 2)
  const words = (bytes: Uint8Array): number =>
    onesComplementSum(bytes.subarray(first, at % 2 === 0 ? at + 2 : at + 3))
  const sum = onesComplementSum(
    Uint8Array.from([
      ...u16(0xffff - readU16(segment, 16)),
      ...u16(0xffff - words(segment)),
      ...u16(words(after)),
    ]),
  )
  after.set(u16(0xffff - sum), 16)
  return after
}

export const clampMss = (frame: Uint8Array, packet: ServicePacket, mtu: number): Uint8Array => {
  const segment = frame.subarray(packet.transportAt)
  if (packet.protocol !== 'tcp' || (segment[13]! & SYN) === 0) return frame
  const at = mssAt(segment)
  const most = mtu - (packet.version === 4 ? 40 : 60)
  if (at === null || readU16(segment, at) <= most) return frame
  const clamped = Uint8Array.from(frame)
  clamped.set(replaced(segment, at, most), packet.transportAt)
  return clamped
}
