/**
 * One load of the data plane as it is pinned:
 *
 *   maps/NAME       config         retired/NAME-N     the maps, the constants, counters of maps that have been replaced
 *   program                                           the XDP program
 *   layouts/NAME    seed           whole              symbolic links, for the text that they hold
 *
 * `whole` is written last: what lacks it was left behind half-written.
 */
import { readlinkSync, rmdirSync, symlinkSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type BpfMap, type BpfProgram, loadNative } from '../native.js'
import { bpffsError, makeDirectory, namesIn } from './bpffs.js'
import { configLayout, flowLayout, mapNames } from './layout.js'
import { capacities, type Loaded, type MapName, type Shape, valueSizes } from './load.js'
import { configText, FORMAT, mapTexts } from './map-layout.js'

export const countNames = ['backend_counts', 'service_counts'] as const
export type CountName = (typeof countNames)[number]
/** Maps that counted before they were replaced by larger ones. */
export type Retired = Readonly<Record<CountName, readonly BpfMap[]>>

/** What was found and fits. */
export interface Found {
  readonly number: number
  readonly shape: Shape
  readonly serviceSeed: number
  readonly maps: ReadonlyMap<MapName, BpfMap>
  readonly retired: Retired
  readonly config: Uint8Array
  /** null: its pin is gone. */
  readonly program: BpfProgram | null
}

const folders = ['maps', 'retired', 'layouts'] as const
const files = ['program', 'config', 'seed', 'whole'] as const
const WHOLE = `format ${FORMAT}`
/** Without these the tables' contents cannot be understood; any other map can begin anew. */
const needed: readonly MapName[] = ['services', 'slots', 'backends']

/** The kernel keeps 15 letters of a name. */
const MAX_NAME = 15

export const writeGeneration = (directory: string, loaded: Loaded, retired: Retired): void => {
  const path = (...names: string[]): string => join(directory, ...names)
  try {
    makeDirectory(directory)
    for (const folder of folders) makeDirectory(path(folder))
    for (const [name, map] of loaded.maps) {
      map.pin(path('maps', name))
      symlinkSync(mapTexts[name], path('layouts', name))
    }
    for (const name of countNames)
      for (const [i, map] of retired[name].entries()) map.pin(path('retired', `${name}-${i}`))
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

const openMap = (path: string, name: MapName): BpfMap => {
  const map = opened(path, loadNative().BpfMap.openPinned)
  const { info } = map
  if (info.name === name.slice(0, MAX_NAME) && info.keySize === 4 && info.valueSize === valueSizes[name])
    return map
  map.close()
  throw new Unusable(`${path} is another map: "${info.name}", values of ${info.valueSize} bytes`)
}

/** The shape that the maps and the constants tell of. */
const shapeOf = (
  config: ReturnType<typeof configLayout.decode>,
  maps: ReadonlyMap<MapName, BpfMap>,
  seed: string,
): Shape => {
  const entries = (name: MapName): number => maps.get(name)?.info.maxEntries ?? 0
  const tracking = config.tracking === 1
  return {
    services: entries('service_counts') || (config.serviceMask + 1) / 8,
    backends: entries('backends'),
    slots: entries('slots'),
    interfaces: config.interfaceMask + 1,
    seed,
    flows: tracking ? 2 ** config.cacheBits * flowLayout.FLOWS_PER_BUCKET : 0,
    tracking,
    testClock: config.testClock === 1,
    anyPort: config.anyPort === 1,
    rejectsPerSecond: config.rejectsPerSecond,
    trace: config.trace === 1,
  }
}

const checkShape = (shape: Shape, maps: ReadonlyMap<MapName, BpfMap>, serviceMask: number): void => {
  if (!/^[0-9a-f]{32}$/.test(shape.seed)) throw new Unusable('its seed is no seed')
  const expected = capacities(shape)
  if (expected.services !== serviceMask + 1)
    throw new Unusable(`it has ${serviceMask + 1} places for ${shape.services} services`)
  for (const [name, entries] of Object.entries(expected) as [MapName, number][]) {
    const map = maps.get(name)
    if (map && map.info.maxEntries !== entries)
      throw new Unusable(`its map ${name} has ${map.info.maxEntries} entries, its program expects ${entries}`)
  }
}

/**
 * Opens a generation.
 *
 * @throws Unusable when this build cannot go on with it, and why
 */
export const readGeneration = (directory: string, number: number): Found => {
  const path = (...names: string[]): string => join(directory, ...names)
  const whole = textOf(path('whole'))
  if (whole !== WHOLE) throw new Unusable(`it is of "${whole}", this build has "${WHOLE}"`)
  if (textOf(path('layouts', 'config')) !== configText)
    throw new Unusable('its constants are laid out otherwise')
  const close: { close(): void }[] = []
  try {
    const maps = new Map<MapName, BpfMap>()
    for (const name of mapNames) {
      const isSame =
        namesIn(path('layouts')).includes(name) && textOf(path('layouts', name)) === mapTexts[name]
      if (!isSame && needed.includes(name)) throw new Unusable(`its map ${name} is laid out otherwise`)
      if (!isSame) continue
      const map = openMap(path('maps', name), name)
      close.push(map)
      maps.set(name, map)
    }
    const configMap = opened(path('config'), loadNative().BpfMap.openPinned)
    const config = configMap.lookup(new Uint8Array(4))
    configMap.close()
    if (config.length !== configLayout.size)
      throw new Unusable(`${path('config')} is another map of ${config.length} bytes`)
    const constants = configLayout.decode(config)
    const shape = shapeOf(constants, maps, textOf(path('seed')))
    checkShape(shape, maps, constants.serviceMask)

    const retiredOf = (name: CountName): BpfMap[] =>
      namesIn(path('retired'))
        .filter(one => one.startsWith(`${name}-`) && maps.has(name))
        .map(one => {
          const map = openMap(path('retired', one), name)
          close.push(map)
          return map
        })
    const retired = {
      backend_counts: retiredOf('backend_counts'),
      service_counts: retiredOf('service_counts'),
    }
    let program: BpfProgram | null = null
    try {
      program = opened(path('program'), loadNative().BpfProgram.openPinned)
    } catch (cause) {
      if (!(cause instanceof Unusable)) throw cause // another is loaded
    }
    return { number, shape, serviceSeed: constants.serviceSeed, maps, retired, config, program }
  } catch (cause) {
    for (const one of close) one.close()
    throw cause
  }
}
