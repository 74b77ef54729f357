/**
 * The connections of FULLNAT, SNAT and NAT by flow, as they lie in the data plane's memory. That writes meanwhile: what is
 * read of an entry holds for the moment it was read; what is written goes by compare-exchange of its `life`.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { connectionKind, connectionLayout, connectionTimesLayout, localAddressLayout } from './layout.js'

const { size, fields } = connectionLayout
const WORDS = size / 4
const EXPIRES = fields.expires.offset / 4
const BACKEND = fields.backend.offset / 4
/** The u64 of expires, client_seen, server_seen, protocol, kind. */
const LIFE = fields.expires.offset / 8
const KIND_BYTE = fields.kind.offset
const LIFE_BYTES = 8
const PORT_BITS = 16
/** Looked at between two turns of the event loop: a millisecond, or two from cold memory. */
const SLICE = 65536
/** A packet that comes while an entry is read writes it: it is read again, so many times. */
const LOOKS = 8

export interface ConnectionViews {
  readonly memory: ArrayBuffer
  /** How many entries there are. */
  readonly length: number
  readonly words: Uint32Array
  readonly bytes: Uint8Array
  readonly lives: BigUint64Array
}

export const viewConnections = (memory: ArrayBuffer): ConnectionViews => ({
  memory,
  length: Math.floor(memory.byteLength / size),
  words: new Uint32Array(memory),
  bytes: new Uint8Array(memory),
  lives: new BigUint64Array(memory),
})

/** Whether an entry is somebody's. @param now reading of the connection clock */
export const isLive = ({ words, bytes }: ConnectionViews, index: number, now: number): boolean =>
  words[index * WORDS + EXPIRES]! >= now &&
  (bytes[index * size + KIND_BYTE]! & connectionKind.CONNECTION_KIND_MASK) > connectionKind.CONNECTION_CLAIMED

export const backendOf = ({ words }: ConnectionViews, index: number): number =>
  words[index * WORDS + BACKEND]!

/** enum connection_kind, with its flags. */
export const kindOf = ({ bytes }: ConnectionViews, index: number): number => bytes[index * size + KIND_BYTE]!

/** What an entry's ends have said: enum connection_seen. */
export const seenOf = ({ bytes }: ConnectionViews, index: number) => {
  const at = index * size
  return {
    protocol: bytes[at + fields.protocol.offset]!,
    clientSeen: bytes[at + fields.clientSeen.offset]!,
    serverSeen: bytes[at + fields.serverSeen.offset]!,
  }
}

/** What is told of a connection. Addresses: 16 bytes, IPv4 mapped. */
export interface ConnectionRecord {
  readonly client: Uint8Array
  readonly clientPort: number
  readonly server: Uint8Array
  readonly serverPort: number
  /** Id; SNAT: 0. */
  readonly backend: number
  /** Connection clock. */
  readonly expires: number
  /** enum connection_seen */
  readonly clientSeen: number
  readonly serverSeen: number
  readonly protocol: number
  /** enum connection_kind */
  readonly kind: number
}

const addressAt = (bytes: Uint8Array, at: number): Uint8Array => bytes.slice(at, at + 16)
const portAt = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!

const recordAt = ({ bytes, words }: ConnectionViews, index: number): ConnectionRecord => {
  const at = index * size
  return {
    client: addressAt(bytes, at + fields.client.offset),
    clientPort: portAt(bytes, at + fields.clientPort.offset),
    server: addressAt(bytes, at + fields.server.offset),
    serverPort: portAt(bytes, at + fields.serverPort.offset),
    backend: words[index * WORDS + BACKEND]!,
    expires: words[index * WORDS + EXPIRES]!,
    clientSeen: bytes[at + fields.clientSeen.offset]!,
    serverSeen: bytes[at + fields.serverSeen.offset]!,
    protocol: bytes[at + fields.protocol.offset]!,
    kind: bytes[at + KIND_BYTE]!,
  }
}

/** The whole of a live entry; null: it is free, or another one's by now. */
export const readConnection = (
  views: ConnectionViews,
  index: number,
  now: number,
): { readonly record: ConnectionRecord; readonly life: bigint } | null => {
  const word = (index * size) / 8 + LIFE
  for (let looks = 0; looks < LOOKS; looks++) {
    const life = Atomics.load(views.lives, word)
    if (!isLive(views, index, now)) return null
    const record = recordAt(views, index)
    if (Atomics.load(views.lives, word) === life) return { record, life }
  }
  return null
}

/**
 * Changes what `life` says.
 *
 * @param life what it was read as
 * @returns false: the data plane has written it since
 */
export const changeLife = (
  { lives }: ConnectionViews,
  index: number,
  life: bigint,
  change: { readonly expires: number; readonly kind: number },
): boolean => {
  const bytes = new Uint8Array(LIFE_BYTES)
  const view = new DataView(bytes.buffer)
  const word = new BigUint64Array(bytes.buffer)
  word[0] = life
  fields.expires.write(view, 0, change.expires)
  fields.kind.write(view, KIND_BYTE - fields.expires.offset, change.kind)
  return Atomics.compareExchange(lives, (index * size) / 8 + LIFE, life, word[0]) === life
}

/** An entry's place: a local address by its number, and a port of it. */
export const placeOf = (index: number): { readonly number: number; readonly port: number } => ({
  number: index >>> PORT_BITS,
  port: index & (2 ** PORT_BITS - 1),
})

/** A local address by its number: 16 bytes; null: there is none. */
export const localAddress = (memory: ArrayBuffer, number: number): Uint8Array | null => {
  const at = number * localAddressLayout.size
  if (at + localAddressLayout.size > memory.byteLength) return null
  const { addr } = localAddressLayout.decode(new Uint8Array(memory, at, localAddressLayout.size))
  return addr.every(byte => byte === 0) ? null : addr
}

/** Seconds after which an entry is free, by enum connection_state. @param service id, null: SNAT */
export const timesOf = (memory: ArrayBuffer, service: number | null): Uint16Array => {
  const rows = Math.floor(memory.byteLength / connectionTimesLayout.size)
  const row = service !== null && service < rows ? service : rows - 1
  return new Uint16Array(memory, row * connectionTimesLayout.size, connectionTimesLayout.size / 2)
}

/**
 * Live connections, by backend id (SNAT's: 0), slice by slice: the event loop goes on meanwhile.
 *
 * @param now reading of the connection clock
 * @param ids how many backend ids there are: of larger ones nothing is counted
 */
export const countConnections = async (
  memory: ArrayBuffer,
  now: number,
  ids: number,
): Promise<Uint32Array> => {
  const views = viewConnections(memory)
  const counts = new Uint32Array(ids)
  for (let from = 0; from < views.length; from += SLICE) {
    if (from > 0) await nextTurn()
    countSlice(views, from, Math.min(views.length, from + SLICE), now, counts)
  }
  return counts
}

const countSlice = (
  { words, bytes }: ConnectionViews,
  from: number,
  to: number,
  now: number,
  counts: Uint32Array,
): void => {
  for (let index = from; index < to; index++) {
    const at = index * WORDS
    if (words[at + EXPIRES]! < now) continue
    const kind = bytes[index * size + KIND_BYTE]! & connectionKind.CONNECTION_KIND_MASK
    if (kind <= connectionKind.CONNECTION_CLAIMED) continue
    const backend = words[at + BACKEND]!
    if (backend < counts.length) counts[backend]!++
  }
}
