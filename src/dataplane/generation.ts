/**
 * One load of the data plane as it is pinned:
 *
 *   maps/NAME       config                   the maps, the constants
 *   program                                  the XDP program
 *   layouts/NAME    seed           whole     symbolic links, for the text that they hold
 *
 * `whole` is written last: what lacks it was left behind half-written.
 */
import { readlinkSync, rmdirSync, symlinkSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type BpfMap, type BpfProgram, loadNative } from '../native.js'
import { bpffsError, makeDirectory, namesIn } from './bpffs.js'
import { convertRecord, lackingFields } from './convert.js'
import { configLayout, flowLayout, mapNames } from './layout.js'
import {
  keySize,
  type Loaded,
  type MapName,
  MIN_INDEX_BITS,
  NO_LOCAL,
  PLACES_PER_NUMBER,
  type Shape,
  tailBits,
} from './load.js'
import { configText, FORMAT, type MapLayout, mapTexts, parseLayout } from './map-layout.js'
import { bucketsForEntries } from './open-table.js'

/** A map that was found. */
export interface FoundMap {
  readonly map: BpfMap
  readonly layout: MapLayout
  /** It is laid out as this build does it. */
  readonly isSame: boolean
}

/** What was found, and can be read. */
export interface Found {
  readonly number: number
  readonly shape: Shape
  readonly serviceSeed: number
  /** Of its flow cache: see `tailBits` in load.ts. */
  readonly tailBits: number
  readonly maps: ReadonlyMap<MapName, FoundMap>
  /** The constants; null: laid out otherwise. */
  readonly config: Uint8Array | null
  /** null: its pin is gone. */
  readonly program: BpfProgram | null
}

const folders = ['maps', 'layouts'] as const
const files = ['program', 'config', 'seed', 'whole'] as const
const WHOLE = `format ${FORMAT}`
/** Without these nothing that was found can be understood; any other map can begin anew. */
export const tableNames = ['services', 'slots', 'backends', 'interfaces'] as const
/** Constants without which the tables cannot be. */
const neededConstants = ['serviceSeed', 'serviceMask', 'interfaceMask', 'cacheBits', 'tracking'] as const

/** The kernel keeps 15 letters of a name. */
const MAX_NAME = 15

export const writeGeneration = (directory: string, loaded: Loaded): void => {
  const path = (...names: string[]): string => join(directory, ...names)
  try {
    makeDirectory(directory)
    for (const folder of folders) makeDirectory(path(folder))
    for (const [name, map] of loaded.maps) {
      map.pin(path('maps', name))
      symlinkSync(mapTexts[name], path('layouts', name))
    }
    loaded.config.pin(path('config'))
    symlinkSync(configText, path('layouts', 'config'))
    loaded.program.pin(path('program'))
    symlinkSync(loaded.shape.seed, path('seed'))
    symlinkSync(WHOLE, path('whole'))
  } catch (cause) {
    throw bpffsError('cannot be pinned', directory, cause)
  }
}

const isGone = (remove: () => void): boolean => {
  try {
    remove()
    return true
  } catch {
    return false
  }
}

/** Removes what writeGeneration makes, and only that. @returns whether nothing is left */
export const removeGeneration = (directory: string): boolean => {
  const there = namesIn(directory)
  // `whole` goes first: from here on this is a half-written one.
  for (const file of files.toReversed())
    if (there.includes(file)) isGone(() => unlinkSync(join(directory, file)))
  for (const folder of folders) {
    if (!there.includes(folder)) continue
    const inside = join(directory, folder)
    for (const name of namesIn(inside)) isGone(() => unlinkSync(join(inside, name)))
    isGone(() => rmdirSync(inside))
  }
  return isGone(() => rmdirSync(directory))
}

/** Why a generation cannot be used. */
export class Unusable extends Error {}

const textOf = (path: string): string => {
  try {
    return readlinkSync(path)
  } catch (cause) {
    throw new Unusable(`${path} is missing`, { cause })
  }
}

const layoutAt = (path: string, what: string): MapLayout => {
  const text = textOf(path)
  const layout = parseLayout(text)
  if (layout) return layout
  throw new Unusable(`its ${what} laid out otherwise, and "${text}" does not say how`)
}

const opened = <T>(path: string, open: (path: string) => T): T => {
  try {
    return open(path)
  } catch (cause) {
    const code = (cause as { code?: string }).code
    if (code === 'EROFS') throw bpffsError('cannot be opened', path, cause)
    throw new Unusable(
      code === 'ENOENT' ? `${path} is missing` : `${path} is no pin of this kind (${code ?? String(cause)})`,
      { cause },
    )
  }
}

const openMap = (path: string, name: MapName, size: number): BpfMap => {
  const map = opened(path, loadNative().BpfMap.openPinned)
  const { info } = map
  const isIt = info.name === name.slice(0, MAX_NAME) && info.keySize === keySize(name)
  if (isIt && info.valueSize === size) return map
  map.close()
  throw new Unusable(`${path} is another map: "${info.name}", values of ${info.valueSize} bytes`)
}

/** The constants, as far as they were there: the others are 0. */
const readConfig = (path: string, layout: MapLayout): Uint8Array => {
  const lacking = lackingFields(layout, configLayout.fields)
  const needed = neededConstants.filter(name => lacking.includes(name))
  if (needed.length > 0) throw new Unusable(`its constants lack ${needed.join(', ')}`)
  const map = opened(path, loadNative().BpfMap.openPinned)
  try {
    const value = map.lookup(new Uint8Array(4))
    if (value.length !== layout.size) throw new Unusable(`${path} is another map of ${value.length} bytes`)
    return convertRecord(value, layout, configLayout)
  } finally {
    map.close()
  }
}

/** The shape that the maps and the constants tell of. */
const shapeOf = (
  config: ReturnType<typeof configLayout.decode>,
  maps: ReadonlyMap<MapName, FoundMap>,
  seed: string,
): Shape => {
  const entries = (name: MapName): number => maps.get(name)?.map.info.maxEntries ?? 0
  const tracking = config.tracking === 1
  return {
    services: entries('service_counts') || (config.serviceMask + 1) / 16,
    serviceBuckets: config.serviceMask + 1,
    backends: entries('backends'),
    slots: entries('slots'),
    interfaces: config.interfaceMask + 1,
    seed,
    flows: tracking ? 2 ** config.cacheBits * flowLayout.FLOWS_PER_BUCKET : 0,
    tracking,
    testClock: config.testClock === 1,
    anyPort: config.anyPort === 1,
    answersPerSecond: config.answersPerSecond,
    trace: config.trace === 1,
    nat: config.nat === 1,
    replies: Math.max(bucketsForEntries(1), config.replyMask + 1),
    numbers: config.connections === 1 ? entries('connections') / PLACES_PER_NUMBER : 0,
    indexBits: Math.max(MIN_INDEX_BITS, config.connectionBits),
    snatPrefixes: config.snatPrefixes,
    snatPool: config.snatPool,
    ...(config.connections === 1 ? { localNet: config.localNet, localMask: config.localMask } : NO_LOCAL),
  }
}

/**
 * Opens a generation.
 *
 * @throws Unusable when nothing can be made of it, and why
 */
export const readGeneration = (directory: string, number: number): Found => {
  const path = (...names: string[]): string => join(directory, ...names)
  const whole = textOf(path('whole'))
  if (whole !== WHOLE) throw new Unusable(`it is of "${whole}", this build has "${WHOLE}"`)
  const close: { close(): void }[] = []
  try {
    const maps = new Map<MapName, FoundMap>()
    const there = namesIn(path('layouts'))
    for (const name of mapNames) {
      if (!there.includes(name)) continue
      const layout = layoutAt(path('layouts', name), `map ${name} is`)
      const map = openMap(path('maps', name), name, layout.size)
      close.push(map)
      maps.set(name, { map, layout, isSame: textOf(path('layouts', name)) === mapTexts[name] })
    }
    for (const name of tableNames) if (!maps.has(name)) throw new Unusable(`it has no map ${name}`)

    const bytes = readConfig(path('config'), layoutAt(path('layouts', 'config'), 'constants are'))
    const config = configLayout.decode(bytes)
    const seed = textOf(path('seed'))
    if (!/^[0-9a-f]{32}$/.test(seed)) throw new Unusable('its seed is no seed')
    if (config.serviceMask + 1 !== maps.get('services')!.map.info.maxEntries)
      throw new Unusable(`its program expects ${config.serviceMask + 1} places for services`)
    const shape = shapeOf(config, maps, seed)
    let program: BpfProgram | null = null
    try {
      program = opened(path('program'), loadNative().BpfProgram.openPinned)
    } catch (cause) {
      if (!(cause instanceof Unusable)) throw cause // another is loaded
    }
    return {
      number,
      shape,
      serviceSeed: config.serviceSeed,
      tailBits: tailBits(config.cacheBits, config.cacheGrown),
      maps,
      config: textOf(path('layouts', 'config')) === configText ? bytes : null,
      program,
    }
  } catch (cause) {
    for (const one of close) one.close()
    throw cause
  }
}

/** All but what was taken over from it. */
export const closeFound = ({ maps, program }: Pick<Found, 'maps' | 'program'>): void => {
  for (const { map } of maps.values()) map.close()
  program?.close()
}
