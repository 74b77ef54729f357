/** What an earlier process has pinned, in the maps of a load of this build's: shared where it can be, else copied. */
import { convertRecords, convertSlots, lackingFields, slotsUnreadable } from './convert.js'
import { type Found, tableNames, Unusable } from './generation.js'
import { backendLayout, serviceLayout } from './layout.js'
import { type Loaded, load, type MapName, type Shape } from './load.js'
import { ofCounts } from './map-layout.js'

/** Of a backend that a build without tunnels has left, until its first change. */
const untunnelled = backendLayout.encode({
  ...backendLayout.decode(new Uint8Array(backendLayout.size)),
  mtu: 0xffff,
})
const { mtu: _, spread: _2, key: _3, source: _4, ...neededOfBackends } = backendLayout.fields

/** The tables that are laid out otherwise. @throws Unusable when they cannot be read */
export const otherTables = ({ maps }: Found): readonly MapName[] => {
  const others = tableNames.filter(name => !maps.get(name)!.isSame)
  const fields = { services: serviceLayout.fields, backends: neededOfBackends }
  for (const name of others) {
    const { layout } = maps.get(name)!
    const why =
      name === 'slots'
        ? slotsUnreadable(layout)
        : name === 'interfaces' // written anew by every start
          ? null
          : lackingFields(layout, fields[name])
    if (why !== null && why.length > 0)
      throw new Unusable(
        typeof why === 'string'
          ? `its map ${name} is laid out otherwise: ${why}`
          : `its map ${name} is laid out otherwise, and lacks ${why.join(', ')}`,
      )
  }
  return others
}

/** Counters that cannot be gone on with, by name. */
export const lackingCounts = ({ maps }: Found): readonly string[] =>
  Object.entries(ofCounts).flatMap(([name, { fields }]) => {
    const found = maps.get(name as MapName)
    return found ? lackingFields(found.layout, fields).map(field => `${name}.${field}`) : [name]
  })

/**
 * @param isConverted the tables are fresh ones, to be filled before its program runs
 * @throws Unusable
 */
export const loadFor = async (found: Found, shape: Shape, isConverted: boolean): Promise<Loaded> => {
  const isShared = (name: MapName): boolean => !isConverted || !tableNames.some(table => table === name)
  const shared = [...found.maps].flatMap(([name, { map, isSame }]) =>
    isSame && isShared(name) ? [[name, map] as const] : [],
  )
  const loaded = await load(shape, {
    maps: new Map(shared),
    serviceSeed: found.serviceSeed,
    tailBits: found.shape.tracking ? found.tailBits : null,
  })
  for (const name of tableNames) {
    const [is, was] = [loaded.maps.get(name)!.info, found.maps.get(name)!.map.info]
    if (isConverted ? is.maxEntries === was.maxEntries : is.id === was.id) continue
    throw new Unusable(`its map ${name} has ${was.maxEntries} entries, this build expects ${is.maxEntries}`)
  }
  return loaded
}

/** Fills the tables with what was found; the interfaces are written by every start. */
export const convertTables = async ({ maps }: Found, loaded: Loaded): Promise<void> => {
  for (const [name, to, lacking] of [
    ['services', serviceLayout],
    ['backends', backendLayout, untunnelled],
  ] as const) {
    const { map, layout } = maps.get(name)!
    convertRecords(await map.mmap(), layout, loaded.memory.get(name)!, to, lacking)
  }
  const { map, layout } = maps.get('slots')!
  convertSlots(await map.mmap(), layout, loaded.memory.get('slots')!)
}
