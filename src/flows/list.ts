/** Flows, a page at a time. */
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

/** @throws BalancerError `ERR_NOT_FOUND`, `ERR_BAD_REQUEST` */
export const listFlows = async (sources: FlowSources, query: FlowQuery): Promise<FlowPage> => {
  const { cursor, limit = MAX_PAGE_ROWS, ...filter } = query
  const { run, owners } = createScan(sources, filter)
  const flows: FlowRow[] = []

  const next = await run(placeOfCursor(cursor), {
    connection: (views, index, _, now) => {
      const read = readConnection(views, index, now)
      if (read === null) return true
      const { record } = read
      const { number, port } = placeOf(index)
      const isSnat = (record.kind & connectionKind.CONNECTION_KIND_MASK) === connectionKind.CONNECTION_SNAT
      const owner = isSnat ? null : owners(record.backend)
      const local = localAddress(sources.memory('local_addresses'), number)
      const times = timesOf(sources.memory('connection_times'), isSnat ? null : (owner?.serviceId ?? null))
      flows.push(connectionRow(record, owner, { index, port, local, times, now }))
      return flows.length < limit
    },
    tracked: (flow, owner) => {
      flows.push(trackedRow(flow, owner))
      return flows.length < limit
    },
  })
  return { flows, cursor: next && `${next.table}${next.at}` }
}
