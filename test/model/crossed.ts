/** ICMP and ICMPv6 as each other, RFC 7915 4.2 and 5.2: types, codes, pointers and MTUs of errors. */

export interface Kind {
  readonly type: number
  readonly code: number
  readonly rest: number
}

/** Where a field of the one header is in the other; what has no counterpart is left out. */
const POINTERS: Readonly<Record<number, number>> = {
  0: 0,
  1: 1,
  2: 4,
  3: 4,
  8: 7,
  9: 6,
  12: 8,
  13: 8,
  14: 8,
  15: 8,
  16: 24,
  17: 24,
  18: 24,
  19: 24,
}
const pointerTo4 = (at: number): number | undefined => {
  if (at === 0 || at === 1) return at
  if (at === 4 || at === 5) return 2
  if (at === 6) return 9
  if (at === 7) return 8
  if (at >= 8 && at <= 23) return 12
  return at >= 24 && at <= 39 ? 16 : undefined
}

const HEADERS = 20
const LEAST_MTU6 = 1280

/** null: it has no counterpart, and is dropped. `mtu`: of the next hop, on the other side. */
export const to6 = ({ type, code, rest }: Kind): Kind | null => {
  if (type === 11) return { type: 3, code, rest: 0 }
  if (type === 12) {
    const pointer = POINTERS[rest >>> 24]
    return (code === 0 || code === 2) && pointer !== undefined ? { type: 4, code: 0, rest: pointer } : null
  }
  if (type !== 3) return null
  if (code === 4) return { type: 2, code: 0, rest: Math.max(LEAST_MTU6, (rest & 0xffff) + HEADERS) }
  if (code === 2) return { type: 4, code: 1, rest: 6 }
  if (code === 3) return { type: 1, code: 4, rest: 0 }
  if ([9, 10, 13, 15].includes(code)) return { type: 1, code: 1, rest: 0 }
  return [0, 1, 5, 6, 7, 8, 11, 12].includes(code) ? { type: 1, code: 0, rest: 0 } : null
}

export const to4 = ({ type, code, rest }: Kind): Kind | null => {
  if (type === 3) return { type: 11, code, rest: 0 }
  if (type === 2) return { type: 3, code: 4, rest: Math.min(0xffff, Math.max(0, rest - HEADERS)) }
  if (type === 4) {
    if (code === 1) return { type: 3, code: 2, rest: 0 }
    const pointer = pointerTo4(rest)
    return code === 0 && pointer !== undefined ? { type: 12, code: 0, rest: pointer << 24 } : null
  }
  if (type !== 1) return null
  const codes: Readonly<Record<number, number>> = { 0: 1, 1: 10, 2: 1, 3: 1, 4: 3 }
  const mapped = codes[code]
  return mapped === undefined ? null : { type: 3, code: mapped, rest: 0 }
}
