/** The program that takes tunnels' packets apart: loaded and filled, and read again from the kernel by its id. */
import { addressBytes, addressFamily, addressText } from '../address.js'
import { BalancerError } from '../errors.js'
import { type BpfMap, type BpfProgram, loadNative } from '../native.js'
import {
  decapAddress,
  decapConfigLayout,
  decapCountLayout,
  decapMode,
  decapSourceLayout,
  decapVerdict,
  type mapNames,
} from './layout.js'
import type { Prefix, TunnelMode } from './wanted.js'

export const PROGRAM = 'linimo_decap'
const CONFIG = '.rodata.config'
const MAX_PORTS = 8
const IPV4_BITS_BEFORE = 96

/** What the program is told; lists in order, so that two of them can be compared. */
export interface Filling {
  readonly modes: readonly TunnelMode[]
  readonly ports: readonly number[]
  readonly addresses: readonly string[]
  readonly vips: readonly string[]
  readonly sources: readonly Prefix[]
}

export type DecapVerdictName = keyof typeof decapVerdict

/** One that is attached. */
export interface Decapsulator {
  readonly filling: Filling
  readonly tag: string
  /** Packets by verdict. */
  readonly counts: Readonly<Partial<Record<DecapVerdictName, number>>>
}

const modeBits: Readonly<Record<TunnelMode, number>> = {
  ipip: decapMode.DECAP_MODE_IPIP,
  gre: decapMode.DECAP_MODE_GRE,
  gue: decapMode.DECAP_MODE_GUE,
}
const allModes = Object.keys(modeBits) as TunnelMode[]

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer)
const readU32 = (bytes: Uint8Array): number => new Uint32Array(bytes.slice().buffer)[0]!

const encodePorts = (ports: readonly number[]): Uint8Array =>
  Uint8Array.from(Array.from({ length: MAX_PORTS }, (_, i) => [(ports[i] ?? 0) >> 8, ports[i] ?? 0]).flat())

const decodePorts = (bytes: Uint8Array): readonly number[] =>
  Array.from({ length: MAX_PORTS }, (_, i) => bytes[2 * i]! * 256 + bytes[2 * i + 1]!).filter(
    port => port !== 0,
  )

const encodeSource = ({ address, bits }: Prefix): Uint8Array =>
  decapSourceLayout.encode({
    bits: bits + (addressFamily(address) === 4 ? IPV4_BITS_BEFORE : 0),
    addr: addressBytes(address),
  })

const decodeSource = (key: Uint8Array): Prefix => {
  const { bits, addr } = decapSourceLayout.decode(key)
  const address = addressText(addr)
  return { address, bits: bits - (addressFamily(address) === 4 ? IPV4_BITS_BEFORE : 0) }
}

const inOrder = (words: Iterable<string>): string[] => [...new Set(words)].sort()

/** In the order by which fillings are compared. */
export const filling = (parts: Filling): Filling => ({
  modes: allModes.filter(mode => parts.modes.includes(mode)),
  ports: [...new Set(parts.ports)].sort((a, b) => a - b),
  addresses: inOrder(parts.addresses),
  vips: inOrder(parts.vips),
  sources: parts.sources
    .map(({ address, bits }) => ({ address, bits }))
    .sort((a, b) => (`${a.address}/${a.bits}` < `${b.address}/${b.bits}` ? -1 : 1)),
})

export const sameFilling = (a: Filling, b: Filling): boolean => JSON.stringify(a) === JSON.stringify(b)

const notPermitted = (cause: unknown): BalancerError =>
  new BalancerError('ERR_NOT_PERMITTED', 'the kernel does not let this process use BPF', {
    cause,
    hint: 'run as root',
  })

const codeOf = (cause: unknown): string | undefined => (cause as { code?: string }).code

/** Loads the program, attached to nothing. The caller closes it. */
export const loadDecapsulator = async (wanted: Filling): Promise<BpfProgram> => {
  if (wanted.ports.length > MAX_PORTS)
    throw new BalancerError('ERR_LIMIT', `${wanted.ports.length} GUE ports: ${MAX_PORTS} are possible`)
  const native = loadNative()
  const object = new native.BpfObject(native.embeddedDecap)
  try {
    object.setMaxEntries('addresses', Math.max(1, wanted.addresses.length + wanted.vips.length))
    object.setMaxEntries('sources', Math.max(1, wanted.sources.length))
    object.setInitialValue(
      CONFIG,
      decapConfigLayout.encode({
        modes: wanted.modes.reduce((sum, mode) => sum | modeBits[mode], 0),
        checkSources: wanted.sources.length > 0 ? 1 : 0,
        guePorts: encodePorts(wanted.ports),
      }),
    )
    await object.load()
    const addresses = object.map('addresses')
    for (const address of wanted.addresses)
      addresses.update(addressBytes(address), u32(decapAddress.DECAP_ADDRESS_OWN))
    for (const vip of wanted.vips) addresses.update(addressBytes(vip), u32(decapAddress.DECAP_ADDRESS_VIP))
    const sources = object.map('sources')
    for (const source of wanted.sources) sources.update(encodeSource(source), u32(1))
    return object.program(PROGRAM)
  } catch (cause) {
    throw codeOf(cause) === 'EPERM' ? notPermitted(cause) : cause
  } finally {
    object.close()
  }
}

/** Keys, each with its value. */
const entriesOf = (map: BpfMap): [Uint8Array, Uint8Array][] => {
  const entries: [Uint8Array, Uint8Array][] = []
  for (let key = map.nextKey(); key !== null && entries.length < map.info.maxEntries; key = map.nextKey(key))
    entries.push([key, map.lookup(key)])
  return entries
}

const countsOf = (map: BpfMap): Decapsulator['counts'] =>
  Object.fromEntries(
    Object.entries(decapVerdict).flatMap(([name, verdict]) => {
      const values = map.lookup(u32(verdict))
      let packets = 0n
      for (let at = 0; at < values.length; at += decapCountLayout.size)
        packets += decapCountLayout.decode(values, at).packets
      return packets > 0n ? [[name, Number(packets)]] : []
    }),
  )

const fillingOf = (maps: ReadonlyMap<string, BpfMap>): Filling => {
  const config = decapConfigLayout.decode(maps.get(CONFIG)!.lookup(u32(0)))
  const known = entriesOf(maps.get('addresses')!).map(
    ([key, value]) => [addressText(key), readU32(value)] as const,
  )
  return filling({
    modes: allModes.filter(mode => config.modes & modeBits[mode]),
    ports: decodePorts(config.guePorts),
    addresses: known.flatMap(([address, as]) => (as & decapAddress.DECAP_ADDRESS_OWN ? [address] : [])),
    vips: known.flatMap(([address, as]) => (as & decapAddress.DECAP_ADDRESS_VIP ? [address] : [])),
    sources: config.checkSources ? entriesOf(maps.get('sources')!).map(([key]) => decodeSource(key)) : [],
  })
}

const needed: readonly ((typeof mapNames)[number] | typeof CONFIG)[] = [
  'addresses',
  'counts',
  'sources',
  CONFIG,
]

/** @returns null when the program is another's, or is gone, or of a build whose maps are not these */
export const readDecapsulator = (programId: number): Decapsulator | null => {
  const native = loadNative()
  const maps = new Map<string, BpfMap>()
  let program: BpfProgram | undefined
  try {
    program = native.BpfProgram.openById(programId)
    if (program.info.name !== PROGRAM) return null
    for (const id of program.mapIds) {
      const map = native.BpfMap.openById(id)
      maps.set(map.info.name, map)
    }
    if (!needed.every(name => maps.has(name))) return null
    return { filling: fillingOf(maps), tag: program.info.tag, counts: countsOf(maps.get('counts')!) }
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return null
    throw codeOf(cause) === 'EPERM' ? notPermitted(cause) : cause
  } finally {
    program?.close()
    for (const map of maps.values()) map.close()
  }
}
