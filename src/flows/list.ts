/** Flows, a page at a time. */
import { addressText } from '../address.js'
import { type FlowPage, type FlowRow, MAX_PAGE_ROWS } from '../control/protocol.js'
import { localAddress, placeOf, readConnection, timesOf } from '../dataplane/connections.js'
import { connectionKind } from '../dataplane/layout.js'
import type { FlowFilter } from './filter.js'
import { connectionRow, trackedRow } from './row.js'
import { createScan, placeOfCursor } from './scan.js'
import type { FlowSources } from './sources.js'

export interface FlowQuery extends FlowFilter {
  readonly cursor?: string | undefined
  readonly limit?: number | undefined
}

/** What is looked up once for each of the few keys that the rows of a page have. */
const remembered = <K, V>(find: (key: K) => V): ((key: K) => V) => {
  const known = new Map<K, V>()
  return key => {
    const before = known.get(key)
    if (before !== undefined || known.has(key)) return before as V
    const value = find(key)
    known.set(key, value)
    return value
  }
}

/** @throws BalancerError `ERR_NOT_FOUND`, `ERR_BAD_REQUEST` */
export const listFlows = async (sources: FlowSources, query: FlowQuery): Promise<FlowPage> => {
  const { cursor, limit = MAX_PAGE_ROWS, ...filter } = query
  const { run, owners } = createScan(sources, filter)
  const flows: FlowRow[] = []
  const localOf = remembered((number: number) => {
    const bytes = localAddress(sources.memory('local_addresses'), number)
    return bytes && addressText(bytes)
  })
  /** By the service's id; null: SNAT's. */
  const times = remembered((service: number | null) => timesOf(sources.memory('connection_times'), service))

  const next = await run(placeOfCursor(cursor), {
    connection: (views, index, _, now) => {
      const read = readConnection(views, index, now)
      if (read === null) return true
      const { record } = read
      const { number, port } = placeOf(index)
      const isSnat = (record.kind & connectionKind.CONNECTION_KIND_MASK) === connectionKind.CONNECTION_SNAT
      const owner = isSnat ? null : owners(record.backend)
      const of = { index, port, local: localOf(number), times: times(owner?.serviceId ?? null), now }
      flows.push(connectionRow(record, owner, of))
      return flows.length < limit
    },
    tracked: (flow, owner) => {
      flows.push(trackedRow(flow, owner))
      return flows.length < limit
    },
  })
  return { flows, cursor: next && `${next.table}${next.at}` }
}
