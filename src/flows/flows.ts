/** The flows that have state, for the control socket: listed, counted, dropped. */
import type { FlowCount, FlowDrop, FlowPage } from '../control/protocol.js'
import { countFlows } from './count.js'
import { dropFlows, type FlowsToDrop } from './drop.js'
import type { FlowFilter } from './filter.js'
import { type FlowQuery, listFlows } from './list.js'
import type { FlowSources } from './sources.js'

export interface Flows {
  list(query: FlowQuery): Promise<FlowPage>
  count(filter: FlowFilter): Promise<FlowCount>
  drop(toDrop: FlowsToDrop): Promise<FlowDrop>
}

export const createFlows = (sources: FlowSources): Flows => ({
  list: query => listFlows(sources, query),
  count: filter => countFlows(sources, filter),
  drop: toDrop => dropFlows(sources, toDrop),
})
