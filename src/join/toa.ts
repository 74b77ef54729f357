/**
 * The programs by which processes are told of the clients behind a FULLNAT balancer: loaded and filled, attached to a
 * cgroup, and read again from the kernel by their ids.
 */
import { addressBytes, addressFamily, addressText } from '../address.js'
import { type BpfMap, type BpfProgram, type CgroupHook, loadNative } from '../native.js'
import { type mapNames, toaConfigLayout, toaCountLayout, toaOutcome, toaSourceLayout } from './toa-layout.js'
import type { Prefix } from './wanted.js'

const CONFIG = '.rodata.config'
const IPV4_BITS_BEFORE = 96

/** Where each of the programs is attached. */
export const TOA_PROGRAMS = {
  sockops: 'linimo_toa',
  getpeername4: 'linimo_peer4',
  getpeername6: 'linimo_peer6',
} as const satisfies Record<CgroupHook, string>
/** In the order in which they are attached: who asks before the option is read is told of the balancer. */
export const toaHooks = Object.keys(TOA_PROGRAMS) as readonly CgroupHook[]

export type ToaOutcomeName = keyof typeof toaOutcome
export type ByHook<T> = Readonly<Record<CgroupHook, T>>

/** Loaded, attached to nothing. */
export interface ToaPrograms {
  readonly programs: ByHook<BpfProgram>
  readonly close: () => void
}

/** On a cgroup: those of Linimo's that are there, by their names. */
export interface AttachedToa {
  readonly ids: Readonly<Partial<Record<CgroupHook, number>>>
  readonly tags: Readonly<Partial<Record<CgroupHook, string>>>
  /** Who is believed, in order; null: it is of a build that cannot be read, or is not there. */
  readonly sources: readonly Prefix[] | null
  /** Connections by outcome. */
  readonly counts: Readonly<Partial<Record<ToaOutcomeName, number>>>
  /** The map of the connections' clients, which outlives its programs when others take it over. */
  readonly clientsId: number | null
}

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer)

const encodeSource = ({ address, bits }: Prefix): Uint8Array =>
  toaSourceLayout.encode({
    bits: bits + (addressFamily(address) === 4 ? IPV4_BITS_BEFORE : 0),
    addr: addressBytes(address),
  })

const decodeSource = (key: Uint8Array): Prefix => {
  const { bits, addr } = toaSourceLayout.decode(key)
  const address = addressText(addr)
  return { address, bits: bits - (addressFamily(address) === 4 ? IPV4_BITS_BEFORE : 0) }
}

/** The network's own address, so that two spellings of a prefix are one: as the kernel's trie has them. */
const masked = ({ address, bits }: Prefix): Prefix => {
  const from = addressFamily(address) === 4 ? IPV4_BITS_BEFORE : 0
  const kept = addressBytes(address).map(
    (byte, i) => byte & ~(0xff >> Math.min(8, Math.max(0, from + bits - 8 * i))),
  )
  const text = addressText(kept)
  return { address: text, bits: from + bits - (addressFamily(text) === 4 ? IPV4_BITS_BEFORE : 0) }
}

/** In the order by which they are compared, each once. */
export const toaSources = (sources: readonly Prefix[]): readonly Prefix[] =>
  [...new Map(sources.map(masked).map(one => [`${one.address}/${one.bits}`, one]))]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, prefix]) => prefix)

export const sourcesText = (sources: readonly Prefix[]): string =>
  sources.map(({ address, bits }) => `${address}/${bits}`).join(' ') || 'anybody'

/**
 * @param sources who is believed; none: anybody
 * @param clients a map of connections' clients to go on with
 */
export const loadToa = async (sources: readonly Prefix[], clients: BpfMap | null): Promise<ToaPrograms> => {
  const native = loadNative()
  const object = new native.BpfObject(native.embeddedToa)
  try {
    object.setMaxEntries('toa_sources', Math.max(1, sources.length))
    object.setInitialValue(CONFIG, toaConfigLayout.encode({ checkSources: sources.length > 0 ? 1 : 0 }))
    if (clients) object.reuseMap('toa_clients', clients)
    await object.load()
    const map = object.map('toa_sources')
    for (const source of sources) map.update(encodeSource(source), u32(1))
    map.close()
    const programs = Object.fromEntries(
      toaHooks.map(hook => [hook, object.program(TOA_PROGRAMS[hook])]),
    ) as Record<CgroupHook, BpfProgram>
    return {
      programs,
      close: () => {
        for (const hook of toaHooks) programs[hook].close()
      },
    }
  } finally {
    object.close()
  }
}

const countsOf = (map: BpfMap): AttachedToa['counts'] =>
  Object.fromEntries(
    Object.entries(toaOutcome).flatMap(([name, outcome]) => {
      const values = map.lookup(u32(outcome))
      let connections = 0n
      for (let at = 0; at < values.length; at += toaCountLayout.size)
        connections += toaCountLayout.decode(values, at).connections
      return connections > 0n ? [[name, Number(connections)]] : []
    }),
  )

const sourcesOf = (config: BpfMap, sources: BpfMap): readonly Prefix[] => {
  if (!toaConfigLayout.decode(config.lookup(u32(0))).checkSources) return []
  const found: Prefix[] = []
  for (
    let key = sources.nextKey();
    key !== null && found.length < sources.info.maxEntries;
    key = sources.nextKey(key)
  )
    found.push(decodeSource(key))
  return toaSources(found)
}

const needed: readonly ((typeof mapNames)[number] | typeof CONFIG)[] = ['toa_sources', 'toa_counts', CONFIG]

/** What the program that reads the options was told, and has counted. */
const readMaps = (program: BpfProgram): Pick<AttachedToa, 'sources' | 'counts' | 'clientsId'> => {
  const maps = new Map<string, BpfMap>()
  try {
    for (const id of program.mapIds) {
      const map = loadNative().BpfMap.openById(id)
      maps.set(map.info.name, map)
    }
    const clientsId = maps.get('toa_clients')?.info.id ?? null
    if (!needed.every(name => maps.has(name))) return { sources: null, counts: {}, clientsId }
    return {
      sources: sourcesOf(maps.get(CONFIG)!, maps.get('toa_sources')!),
      counts: countsOf(maps.get('toa_counts')!),
      clientsId,
    }
  } finally {
    for (const map of maps.values()) map.close()
  }
}

const codeOf = (cause: unknown): string | undefined => (cause as { code?: string }).code

/** Works with a program by its id; null when it has gone meanwhile. */
const withProgram = <T>(id: number, use: (program: BpfProgram) => T): T | null => {
  let program: BpfProgram
  try {
    program = loadNative().BpfProgram.openById(id)
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return null
    throw cause
  }
  try {
    return use(program)
  } finally {
    program.close()
  }
}

/** @param cgroup its directory */
export const attachedToa = (cgroup: string): AttachedToa => {
  const found = toaHooks.flatMap(hook =>
    loadNative()
      .queryCgroup(cgroup, hook)
      .flatMap(id => {
        const info = withProgram(id, program => program.info)
        return info?.name === TOA_PROGRAMS[hook] ? [{ hook, id, tag: info.tag }] : []
      }),
  )
  const reader = found.find(({ hook }) => hook === 'sockops')
  const read = reader ? withProgram(reader.id, readMaps) : null
  return {
    ids: Object.fromEntries(found.map(({ hook, id }) => [hook, id])),
    tags: Object.fromEntries(found.map(({ hook, tag }) => [hook, tag])),
    ...(read ?? { sources: null, counts: {}, clientsId: null }),
  }
}
