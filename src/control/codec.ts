/** The control socket's stream of msgpack values: bytes in, messages out. Pure. */
import { Packr } from 'msgpackr/pack' // this entry leaves msgpackr's optional native addon unloaded
import { type Options, Unpackr } from 'msgpackr/unpack'
import { type Scan, scanMessage, startScan } from './framing.js'

// 'auto' is missing from the types: 64-bit integers as numbers where those are exact, else as bigint
const unpackr = new Unpackr({
  useRecords: false,
  mapsAsObjects: true,
  int64AsType: 'auto',
} as unknown as Options)
const packr = new Packr({ useRecords: false, skipValues: [undefined] } as Options)

/** One message as msgpack. Properties that are undefined are left out. */
export const encode = (message: object): Buffer => packr.pack(message)

/** @param bytes exactly one value; null when msgpackr refuses it */
const decode = (bytes: Buffer): { readonly value: unknown } | null => {
  try {
    return { value: unpackr.unpack(bytes) }
  } catch {
    return null
  }
}

export interface Decoded {
  readonly messages: readonly unknown[]
  /** Why nothing more can be read, in words; the stream is of no use from here on. */
  readonly problem: string | null
}

export interface Decoder {
  /** Takes the next bytes of the stream; returns the messages that they complete. */
  push(chunk: Buffer): Decoded
  /** Bytes held of a message that is not complete. */
  readonly heldBytes: number
}

/** @param maxBytes what one message may take; more is a `problem` as soon as its headers say so */
export const createDecoder = (maxBytes: number): Decoder => {
  let buffer: Buffer = Buffer.alloc(0) // its first `held` bytes are the beginning of a message
  let held = 0
  let scan: Scan = startScan()
  let problem: string | null = null

  const append = (chunk: Buffer): Buffer => {
    if (held === 0) return chunk
    if (held + chunk.length > buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(2 * buffer.length, held + chunk.length))
      buffer.copy(larger, 0, 0, held)
      buffer = larger
    }
    chunk.copy(buffer, held)
    return buffer.subarray(0, held + chunk.length)
  }

  const push = (chunk: Buffer): Decoded => {
    const messages: unknown[] = []
    const data = problem === null ? append(chunk) : Buffer.alloc(0)
    let taken = 0
    while (taken < data.length && problem === null) {
      const end = scanMessage(data.subarray(taken), scan, maxBytes)
      if (end === null) break
      scan = startScan()
      if (typeof end === 'string') problem = end
      else {
        const message = decode(data.subarray(taken, taken + end))
        if (message === null) problem = 'a message that is no msgpack'
        else messages.push(message.value)
        taken += end
      }
    }
    if (problem !== null) taken = data.length
    if (taken > 0 || held === 0) buffer = Buffer.from(data.subarray(taken)) // a copy: the chunk is the socket's
    held = data.length - taken
    return { messages, problem }
  }

  return {
    push,
    get heldBytes() {
      return held
    },
  }
}
