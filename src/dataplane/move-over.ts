/** From one program to another whose maps are not all the same: what the first has counted and remembered goes along. */
import { BalancerError } from '../errors.js'
import { hashKeys } from '../flow-hash.js'
import type { Log } from '../log.js'
import { loadNative } from '../native.js'
import { connectionTime } from './connection-clock.js'
import { type ConnectionJob, createConnectionCopier } from './connection-copier.js'
import { carryCounts, countNames } from './count-carry.js'
import { clockScale } from './flow-clock.js'
import { type CopyJob, createFlowCopier } from './flow-copier.js'
import { formatOf, ownFormat } from './flow-entry.js'
import type { FoundMap } from './generation.js'
import { flowLayout } from './layout.js'
import { formerRow, type Loaded, type MapName, type Shape } from './load.js'
import { mapTexts, parseLayout } from './map-layout.js'
import { numberMap } from './pool-plan.js'
import { readPools } from './pool-tables.js'

/** What the program that runs so far uses. */
export interface Former {
  readonly maps: ReadonlyMap<MapName, FoundMap>
  readonly shape: Pick<Shape, 'tracking' | 'backends' | 'services' | 'numbers'>
}

/** This build's own. */
export const formerOf = ({ maps, shape }: Loaded): Former => ({
  shape,
  maps: new Map(
    [...maps].map(
      ([name, map]) => [name, { map, layout: parseLayout(mapTexts[name])!, isSame: true }] as const,
    ),
  ),
})

/** The kernel's jiffies, now. */
export const jiffiesOf = ({ clock }: Loaded): bigint => {
  const { data } = clock.testRunSync({ data: new Uint8Array(14) })
  return new BigUint64Array(data!.slice(0, 8).buffer)[0]!
}

const flowTime = (loaded: Loaded): number => {
  const units = (jiffiesOf(loaded) * clockScale(loadNative().tickNs)) >> 32n
  return Number(units) & (2 ** flowLayout.FLOW_SEEN_BITS - 1)
}

/** null: no flow is to be copied, since none was remembered, or the cache is the same. A string: it cannot be. */
const copyJob = ({ maps, shape }: Former, to: Loaded): CopyJob | string | null => {
  const from = maps.get('flow_cache')
  const cache = to.maps.get('flow_cache')!
  if (!shape.tracking || !to.shape.tracking || from?.map.info.id === cache.info.id) return null
  if (!from) return 'there is none'
  const format = from.isSame ? ownFormat : formatOf(from.layout)
  if (typeof format === 'string') return format
  const [services, slots, backends] = [maps.get('services')!, maps.get('slots')!, maps.get('backends')!]
  const flags = backends.layout.fields.get('flags')
  return {
    from: { fd: from.map.fd, format },
    to: cache.fd,
    tail: to.tailBits,
    held:
      slots.isSame && flags
        ? {
            slots: slots.map.fd,
            backends: {
              fd: backends.map.fd,
              stride: Math.ceil(backends.layout.size / 8) * 8,
              offset: flags.offset,
            },
          }
        : null,
    tables:
      services.isSame && slots.isSame && backends.isSame
        ? { services: services.map.fd, slots: slots.map.fd, backends: backends.map.fd, now: flowTime(to) }
        : null,
  }
}

/** What connections are read by. */
const connectionMaps = ['connections', 'connection_index', 'pools', 'local_addresses', 'backends'] as const

/** null: there are none, or both programs have the same. A string: they cannot be copied. */
const connectionJob = async ({ maps, shape }: Former, to: Loaded): Promise<ConnectionJob | string | null> => {
  if (shape.numbers === 0 || to.shape.numbers === 0) return null
  const idOf = (name: MapName): number | undefined => maps.get(name)?.map.info.id
  const isSame = (name: MapName): boolean => idOf(name) === to.maps.get(name)!.info.id
  if (isSame('connections') && isSame('connection_index')) return null
  for (const name of connectionMaps)
    if (!maps.get(name)?.isSame)
      return `its map ${name} is ${maps.has(name) ? 'laid out otherwise' : 'missing'}`
  const found = (name: MapName) => maps.get(name)!.map
  const [before, after] = [
    readPools(await found('pools').mmap(), await found('local_addresses').mmap(), shape.numbers),
    readPools(to.memory.get('pools')!, to.memory.get('local_addresses')!, to.shape.numbers),
  ]
  return {
    from: found('connections').fd,
    to: isSame('connections') ? null : to.maps.get('connections')!.fd,
    index: to.maps.get('connection_index')!.fd,
    numbers: numberMap(before, after),
    keys: hashKeys(to.shape.seed),
    backends: found('backends').fd,
    now: connectionTime(jiffiesOf(to), loadNative().tickNs),
  }
}

/** Marks of slots whose flows found no place. */
const carryPressure = async ({ maps, shape }: Former, to: Loaded): Promise<void> => {
  const from = maps.get('pressure')
  if (!from?.isSame || !shape.tracking || from.map.info.id === to.maps.get('pressure')!.info.id) return
  const [marks, target] = [
    new Uint32Array(await from.map.mmap()),
    new Uint32Array(to.memory.get('pressure')!),
  ]
  for (let i = 0; i < Math.min(marks.length, target.length); i++) if (marks[i] !== 0) target[i]! |= marks[i]!
}

/**
 * @param move moves every interface; what came between the copy and this is brought along afterwards
 * @throws BalancerError `ERR_LIMIT` when the flow cache is too small for what must be remembered; then nothing is moved
 */
export const moveOver = async (
  former: Former,
  to: Loaded,
  log: Log,
  move: () => Promise<void>,
): Promise<void> => {
  const rows = (row: number): number =>
    row < former.shape.backends ? row : formerRow(to.shape, row - former.shape.backends)
  const carries = []
  for (const name of countNames) {
    const from = former.maps.get(name)
    const target = to.maps.get(name)!
    if (from && from.map.info.id !== target.info.id)
      carries.push(
        await carryCounts(
          name,
          from,
          target,
          name === 'backend_counts' || name === 'reply_counts' ? rows : row => row,
        ),
      )
  }

  const connections = await connectionJob(former, to)
  if (typeof connections === 'string')
    log.error(
      { event: 'connections.lost', reason: connections },
      'the connections cannot be read: those that were translated end',
    )
  const connectionCopier = createConnectionCopier()
  try {
    if (connections !== null && typeof connections !== 'string') {
      const { copied, lost } = await connectionCopier.copy(connections)
      log.info({ event: 'connections.copied', connections: copied, lost }, 'the connections were copied')
    }
    await moveFlows(former, to, log, move)
    const { copied, lost } = await connectionCopier.merge()
    if (copied + lost > 0)
      log.info({ event: 'connections.merged', connections: copied, lost }, 'those that came meanwhile too')
  } finally {
    await connectionCopier.close()
  }
  for (const carry of carries) await carry.again()
  await carryPressure(former, to)
}

/** Moves, with what the flow cache has. */
const moveFlows = async (former: Former, to: Loaded, log: Log, move: () => Promise<void>): Promise<void> => {
  const copier = createFlowCopier()
  const job = copyJob(former, to)
  if (typeof job === 'string')
    log.error(
      { event: 'flows.lost', reason: job },
      'the flow cache cannot be read: flows that were remembered go by their slots',
    )
  try {
    if (job !== null && typeof job !== 'string') {
      const { copied, lost } = await copier.copy(job)
      if (lost > 0)
        throw new BalancerError(
          'ERR_LIMIT',
          `${lost} flows that must be remembered have no room in the flow cache`,
          {
            hint: 'a larger `limits: { flows }`, or wait until fewer slots are tracked',
          },
        )
      log.info({ event: 'flows.copied', flows: copied }, 'the flow cache was copied')
    }
    await move()
  } catch (error) {
    await copier
      .end(false)
      .catch((cause: unknown) =>
        log.error(
          { event: 'flows.held', reason: String(cause) },
          'slots stay with the backends that they were given back to',
        ),
      )
    throw error
  }
  await copier.end(true)
}
