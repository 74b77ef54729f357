/** How many flows there are: by kind, by state, by service and backend. */
import type { FlowCount, FlowKind, FlowState } from '../control/protocol.js'
import { backendOf, kindOf } from '../dataplane/connections.js'
import { connectionKind } from '../dataplane/layout.js'
import type { FlowFilter } from './filter.js'
import type { Owners } from './owners.js'
import { kindName } from './row.js'
import { createScan, placeOfCursor } from './scan.js'
import type { FlowSources } from './sources.js'
import { connectionStates, flowStates } from './states.js'

/** By name, those of one backend id after the other. */
const byService = (backends: ReadonlyMap<number, number>, owners: Owners): FlowCount['services'] => {
  const services = new Map<string, Map<string, number>>()
  for (const [id, count] of backends) {
    const owner = owners(id)
    if (owner === null) continue
    const counts = services.get(owner.service) ?? new Map<string, number>()
    services.set(owner.service, counts.set(owner.backend, (counts.get(owner.backend) ?? 0) + count))
  }
  return [...services]
    .map(([service, counts]) => ({
      service,
      total: [...counts.values()].reduce((sum, count) => sum + count, 0),
      backends: [...counts].map(([backend, total]) => ({ backend, total })).sort(byName('backend')),
    }))
    .sort(byName('service'))
}

const byName =
  <K extends string>(key: K) =>
  (a: Readonly<Record<K, string>>, b: Readonly<Record<K, string>>): number =>
    a[key] < b[key] ? -1 : 1

/** @throws BalancerError `ERR_NOT_FOUND`, `ERR_BAD_REQUEST` */
export const countFlows = async (sources: FlowSources, filter: FlowFilter): Promise<FlowCount> => {
  const { run, owners } = createScan(sources, filter)
  const kinds: Record<FlowKind, number> = { fullnat: 0, snat: 0, nat: 0, tracked: 0 }
  const states = new Uint32Array(flowStates.length)
  const backends = new Map<number, number>()
  let dropped = 0
  const counted = (id: number, kind: FlowKind, state: number): true => {
    kinds[kind]++
    states[state]!++
    backends.set(id, (backends.get(id) ?? 0) + 1)
    return true
  }

  await run(placeOfCursor(undefined), {
    connection: (views, index, state) => {
      const kind = kindOf(views, index)
      if (kind & connectionKind.CONNECTION_DROPPED) dropped++
      return counted(backendOf(views, index), kindName(kind), state)
    },
    tracked: ({ id, kind }) => counted(id, 'tracked', connectionStates.length + kind - 1),
  })
  const named: [FlowState, number][] = flowStates.map((state, i) => [state, states[i]!])
  return {
    total: named.reduce((sum, [, count]) => sum + count, 0),
    dropped,
    kinds,
    states: Object.fromEntries(named.filter(([, count]) => count > 0)),
    services: byService(backends, owners),
  }
}
