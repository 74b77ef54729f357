/** Prefixes with what becomes of their addresses, in as few places as will do. Pure. */
import type { ClientRoute } from './dataplane/client-routes-table.js'

export type Way = Pick<ClientRoute, 'kind' | 'nextHop'>

/** The kernel is asked, whose word is right for any address. */
export const BY_KERNEL: Way = { kind: 'kernel', nextHop: null }

/** The longest of them that covers an address counts for it. */
export interface Prefix {
  /** The address as a number; the bits behind the prefix are 0. */
  readonly value: bigint
  readonly length: number
  readonly way: Way
}

const isSameWay = (a: Way, b: Way): boolean => {
  if (a.kind !== b.kind || a.kind !== 'hop' || a.nextHop === b.nextHop) return a.kind === b.kind
  const [hop, other] = [a.nextHop!, b.nextHop!]
  return (
    hop.ifindex === other.ifindex &&
    hop.mtu === other.mtu &&
    Buffer.compare(hop.mac, other.mac) === 0 &&
    Buffer.compare(hop.sourceMac, other.sourceMac) === 0
  )
}

/** Where the kernel is asked it says itself what is the host's own, and what has no way. */
const isSaidBy = (cover: Way, way: Way): boolean =>
  isSameWay(cover, way) || (cover.kind === 'kernel' && way.kind !== 'hop')

/** @param bits of an address */
const cut = (value: bigint, length: number, bits: number): bigint => {
  const rest = BigInt(bits - length)
  return (value >> rest) << rest
}

/** Without those of which the next shorter one that covers them says the same. */
export const merged = (prefixes: readonly Prefix[], bits: number): readonly Prefix[] => {
  const kept = new Map<number, Map<bigint, Prefix>>() // by length, then value
  const coverOf = ({ value, length }: Prefix): Prefix | undefined => {
    // The lengths were met in ascending order.
    for (const [shorter, those] of [...kept].reverse()) {
      const cover = shorter < length ? those.get(cut(value, shorter, bits)) : undefined
      if (cover) return cover
    }
    return undefined
  }
  for (const prefix of prefixes.toSorted((a, b) => a.length - b.length)) {
    const cover = coverOf(prefix)
    if (cover && isSaidBy(cover.way, prefix.way)) continue
    const those = kept.get(prefix.length) ?? new Map<bigint, Prefix>()
    kept.set(prefix.length, those.set(prefix.value, prefix))
  }
  return [...kept.values()].flatMap(those => [...those.values()])
}

/** Those that share their first bits become one prefix of so many bits, by the kernel. */
const combined = (prefixes: readonly Prefix[], length: number, bits: number): readonly Prefix[] => {
  const groups = new Map<bigint, Prefix[]>()
  for (const prefix of prefixes) {
    if (prefix.length < length) continue
    const value = cut(prefix.value, length, bits)
    const group = groups.get(value)
    if (group) group.push(prefix)
    else groups.set(value, [prefix])
  }
  return [
    ...prefixes.filter(prefix => prefix.length < length),
    ...[...groups].flatMap(([value, group]) =>
      group.length === 1 ? group : [{ value, length, way: BY_KERNEL }],
    ),
  ]
}

/** At most so many: of too many those that lie closest together are left to the kernel. */
export const fitted = (prefixes: readonly Prefix[], bits: number, most: number): readonly Prefix[] => {
  let fitting = merged(prefixes, bits)
  for (let length = bits - 1; fitting.length > most && length >= 0; length--)
    fitting = merged(combined(fitting, length, bits), bits)
  return fitting
}
