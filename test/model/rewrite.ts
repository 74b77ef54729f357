/**
 * A packet with other addresses and ports, as RFC 3022 4.1 has it. Every checksum is made anew over the packet's bytes; one
 * that was wrong stays as wrong as it was, for only then do all that read the packet see the same.
 */
import { concat, readU16, u16 } from '../fixtures/bytes.js'
import { onesComplementSum } from '../fixtures/checksum.js'
import { pseudoHeader } from '../fixtures/transport.js'

/** What is not given stays. Addresses of the packet's own family. */
export interface Ends {
  readonly source?: Uint8Array
  readonly destination?: Uint8Array
  readonly sourcePort?: number
  readonly destinationPort?: number
}

/** Where the headers are in the bytes that they are rewritten in. */
export interface Place {
  readonly version: 4 | 6
  readonly carries: number
  readonly ipAt: number
  readonly transportAt: number
  /** The first byte that is no longer the packet's. */
  readonly end: number
}

const CHECKSUM_AT: Readonly<Record<number, number>> = { 6: 16, 17: 6, 1: 2, 58: 2 }
const UDP = 17

/**
 * The bytes with the 16 bits at `at` set so that the sum over `covered` is what it was over `before`; both are taken
 * with those 16 bits zero, to which `old` is added back.
 */
const keptSum = (old: number, before: number, covered: number): number => {
  const error = (old + before) % 65535
  return (error + 65535 - (covered % 65535)) % 65535
}

/** Sets the checksum at `at` so that what it covers is right, or wrong, as it was before. */
const repair = (
  before: Uint8Array,
  after: Uint8Array,
  at: number,
  sumOf: (bytes: Uint8Array) => number,
): number => {
  const blank = (bytes: Uint8Array): Uint8Array => {
    const copy = Uint8Array.from(bytes)
    copy.set([0, 0], at)
    return copy
  }
  return keptSum(readU16(before, at), sumOf(blank(before)), sumOf(blank(after)))
}

const addressesAt = (place: Place): readonly [from: number, bytes: number] =>
  place.version === 4 ? [place.ipAt + 12, 4] : [place.ipAt + 8, 16]

export const addressesOf = (bytes: Uint8Array, place: Place) => {
  const [at, size] = addressesAt(place)
  return { from: bytes.subarray(at, at + size), to: bytes.subarray(at + size, at + 2 * size) }
}

const withEnds = (bytes: Uint8Array, place: Place, ends: Ends): Uint8Array => {
  const after = Uint8Array.from(bytes)
  const [at, size] = addressesAt(place)
  if (ends.source !== undefined) after.set(ends.source, at)
  if (ends.destination !== undefined) after.set(ends.destination, at + size)
  if (ends.sourcePort !== undefined) after.set(u16(ends.sourcePort), place.transportAt)
  if (ends.destinationPort !== undefined) after.set(u16(ends.destinationPort), place.transportAt + 2)
  return after
}

/** The IPv4 header's checksum, of bytes whose header has changed. */
const repairHeader = (before: Uint8Array, after: Uint8Array, place: Place): void => {
  if (place.version !== 4) return
  const length = (before[place.ipAt]! & 15) * 4
  const sumOf = (bytes: Uint8Array): number =>
    onesComplementSum(bytes.subarray(place.ipAt, place.ipAt + length))
  after.set(u16(repair(before, after, place.ipAt + 10, sumOf)), place.ipAt + 10)
}

/** Over the pseudo header, where there is one, and the packet's bytes up to `place.end`. */
const transportSum =
  (place: Place) =>
  (bytes: Uint8Array): number => {
    const segment = bytes.subarray(place.transportAt, place.end)
    const before =
      place.carries === 1
        ? new Uint8Array(0)
        : pseudoHeader(addressesOf(bytes, place), place.carries, segment.length)
    return onesComplementSum(concat(before, segment))
  }

/** The L4 checksum, if it lies before the packet's end. RFC 768: of UDP, 0 is none, and a 0 that is one is 0xffff. */
export const repairTransport = (before: Uint8Array, after: Uint8Array, place: Place): void => {
  const offset = CHECKSUM_AT[place.carries]
  if (offset === undefined) return
  const at = place.transportAt + offset
  if (at + 2 > place.end) return
  if (place.carries === UDP && readU16(before, at) === 0) return
  const sum = repair(before, after, at, transportSum(place))
  after.set(u16(place.carries === UDP && sum === 0 ? 0xffff : sum), at)
}

/** All checksums of the packet, of its headers alone; its TTL as it was. */
export const withOtherEnds = (bytes: Uint8Array, place: Place, ends: Ends): Uint8Array => {
  const after = withEnds(bytes, place, ends)
  repairTransport(bytes, after, place)
  repairHeader(bytes, after, place)
  return after
}

export const ttlOf = (bytes: Uint8Array, { version, ipAt }: Pick<Place, 'version' | 'ipAt'>): number =>
  bytes[ipAt + (version === 4 ? 8 : 7)]!

/** A router's part: TTL or hop limit less 1. */
export const oneHopOn = (bytes: Uint8Array, place: Place): Uint8Array => {
  const after = Uint8Array.from(bytes)
  after[place.ipAt + (place.version === 4 ? 8 : 7)]!--
  repairHeader(bytes, after, place)
  return after
}
