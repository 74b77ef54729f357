/** Goes through connections and tracked flows slice by slice: the event loop goes on between two of them. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { backendOf, type ConnectionViews, isLive, seenOf, viewConnections } from '../dataplane/connections.js'
import type { TrackedFlow } from '../dataplane/tracked-flows.js'
import { stateOf } from './connection-state.js'
import { createMatcher, type FlowFilter, type Matcher } from './filter.js'
import { checkNames, type FlowOwner, type Owners } from './owners.js'
import { type FlowSources, ownersNow, trackedNow } from './sources.js'

/** Done between two turns, a millisecond or a few: an entry that is looked at is one, one that is meant so many more. */
const WORK_A_TURN = 32768
const WORK_OF_ONE_MEANT = 64

/** "c4711": a connection's place; "t4711": a tracked flow's. */
export interface Place {
  readonly table: 'c' | 't'
  readonly at: number
}

export const placeOfCursor = (cursor: string | undefined): Place =>
  cursor === undefined
    ? { table: 'c', at: 0 }
    : { table: cursor.startsWith('t') ? 't' : 'c', at: Number(cursor.slice(1)) }

/** What a scan calls back with; each returns false when it wants no more. */
export interface Scanning {
  /** @param state enum connection_state */
  connection(views: ConnectionViews, index: number, state: number, now: number): boolean
  tracked(flow: TrackedFlow, owner: FlowOwner): boolean
}

export interface Scan {
  readonly owners: Owners
  readonly matcher: Matcher
  /** From a place on; returns where it was stopped, null at the end. */
  run(from: Place, scanning: Scanning): Promise<Place | null>
}

/** @throws BalancerError `ERR_NOT_FOUND`, `ERR_BAD_REQUEST` */
export const createScan = (sources: FlowSources, filter: FlowFilter): Scan => {
  checkNames(sources.wanted(), filter)
  const owners = ownersNow(sources)
  const matcher = createMatcher(filter, owners)

  const connections = async (from: number, call: Scanning['connection']): Promise<Place | null> => {
    for (let at = from; ; await nextTurn()) {
      const views = viewConnections(sources.memory('connections'))
      const now = sources.connectionClock()
      for (let work = 0; at < views.length && work < WORK_A_TURN; at++, work++) {
        if (!isLive(views, at, now) || !matcher.matchesOwner(backendOf(views, at))) continue
        const { protocol, clientSeen, serverSeen } = seenOf(views, at)
        const state = stateOf(protocol, clientSeen, serverSeen)
        if (!matcher.matchesState(state) || !matcher.matchesClient(views.bytes, at)) continue
        work += WORK_OF_ONE_MEANT
        if (!call(views, at, state, now)) return { table: 'c', at: at + 1 }
      }
      if (at >= views.length) return null
    }
  }

  const tracked = async (from: number, call: Scanning['tracked']): Promise<Place | null> => {
    if (!matcher.takesTracked) return null
    for (let at = from; ; await nextTurn()) {
      const flows = trackedNow(sources)
      for (let work = 0; at < flows.length && work < WORK_A_TURN; at++, work++) {
        const flow = flows.at(at)
        if (flow === null || !matcher.matchesOwner(flow.id) || !matcher.matchesTracked(flow.kind)) continue
        const owner = owners(flow.id)
        if (owner === null) continue
        work += WORK_OF_ONE_MEANT
        if (!call(flow, owner)) return { table: 't', at: at + 1 }
      }
      if (at >= flows.length) return null
    }
  }

  return {
    owners,
    matcher,
    run: async ({ table, at }, scanning) =>
      (table === 'c' ? await connections(at, scanning.connection) : null) ??
      (await tracked(table === 't' ? at : 0, scanning.tracked)),
  }
}
