/**
 * Where a msgpack value ends, found before anything of it is decoded: a header that claims more than the limit is
 * refused when it is seen, not when its bytes are buffered. Extension types are no part of the protocol; the one
 * that msgpackr writes for `undefined` is let through.
 * Source: https://github.com/msgpack/msgpack/blob/master/spec.md
 */

/** More than any message of the protocol has; keeps the decoder's recursion bounded. */
const MAX_DEPTH = 64

export interface Token {
  /** Bytes up to the next token, the contents of strings included. */
  readonly bytes: number
  /** Values that follow as its elements: a map has two an entry. */
  readonly elements: number
}

/** `token` when the header is there, null when bytes of it are still missing, a sentence when it is not accepted. */
const tokenAt = (data: Buffer, at: number): Token | null | string => {
  const type = data[at]!
  const sized = (lengthBytes: number, unit: 'bytes' | 'values' | 'pairs'): Token | null => {
    if (at + 1 + lengthBytes > data.length) return null
    const length = data.readUIntBE(at + 1, lengthBytes)
    if (unit === 'bytes') return { bytes: 1 + lengthBytes + length, elements: 0 }
    return { bytes: 1 + lengthBytes, elements: unit === 'pairs' ? length * 2 : length }
  }

  if (type <= 0x7f || type >= 0xe0) return { bytes: 1, elements: 0 }
  if (type <= 0x8f) return { bytes: 1, elements: (type & 0x0f) * 2 }
  if (type <= 0x9f) return { bytes: 1, elements: type & 0x0f }
  if (type <= 0xbf) return { bytes: 1 + (type & 0x1f), elements: 0 }
  switch (type) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return { bytes: 1, elements: 0 }
    case 0xc1:
      return 'byte 0xc1 begins no msgpack value'
    case 0xc4: // bin 8, str 8
    case 0xd9:
      return sized(1, 'bytes')
    case 0xc5: // bin 16, str 16
    case 0xda:
      return sized(2, 'bytes')
    case 0xc6: // bin 32, str 32
    case 0xdb:
      return sized(4, 'bytes')
    case 0xcc: // 8, 16, 32, 64 bits: unsigned, signed, float
    case 0xd0:
      return { bytes: 2, elements: 0 }
    case 0xcd:
    case 0xd1:
      return { bytes: 3, elements: 0 }
    case 0xce:
    case 0xd2:
    case 0xca:
      return { bytes: 5, elements: 0 }
    case 0xcf:
    case 0xd3:
    case 0xcb:
      return { bytes: 9, elements: 0 }
    case 0xdc:
      return sized(2, 'values')
    case 0xdd:
      return sized(4, 'values')
    case 0xde:
      return sized(2, 'pairs')
    case 0xdf:
      return sized(4, 'pairs')
    case 0xd4:
      if (at + 1 >= data.length) return null
      if (data[at + 1] === 0) return { bytes: 3, elements: 0 } // undefined
  }
  return 'msgpack extension types (and msgpackr records) are not accepted'
}

/** Of tokens whose first byte says all of it, by that byte: most of any message, and looked up instead of decoded. 0: others. */
const BYTES_OF_TYPE = Uint8Array.from({ length: 256 }, (_, type) => {
  const token = tokenAt(Buffer.of(type), 0)
  return token !== null && typeof token === 'object' && token.elements === 0 ? token.bytes : 0
})

/** The position in one message, kept from chunk to chunk. */
export interface Scan {
  /** Offset of the next token from the message's first byte; may lie beyond what has arrived. */
  at: number
  /** Elements still to come, of the message itself and then of each open array or map. */
  readonly open: number[]
}

export const startScan = (): Scan => ({ at: 0, open: [1] })

/**
 * Goes on through the message that `data` begins with.
 *
 * @param maxBytes how long the message may be
 * @returns its length when all of it is in `data`, null when there is more to come, a sentence when it is not accepted
 */
export const scanMessage = (data: Buffer, scan: Scan, maxBytes: number): number | null | string => {
  const { open } = scan
  let { at } = scan
  let left = open.pop() ?? 0
  for (;;) {
    while (left === 0) {
      if (open.length === 0) {
        scan.at = at
        return at <= data.length ? at : null
      }
      left = open.pop()!
    }
    const bytes = at < data.length ? BYTES_OF_TYPE[data[at]!]! : 0
    left--
    if (bytes > 0) at += bytes
    else {
      const token = at < data.length ? tokenAt(data, at) : null
      if (token === null) {
        open.push(left + 1)
        scan.at = at
        return null
      }
      if (typeof token === 'string') return token
      at += token.bytes
      if (token.elements > 0) {
        open.push(left)
        if (open.length === MAX_DEPTH) return `a message nested deeper than ${MAX_DEPTH}`
        left = token.elements
      }
    }
    // every element still to come takes a byte or more
    if (at + left > maxBytes) return `a message of more than ${maxBytes} bytes`
  }
}
