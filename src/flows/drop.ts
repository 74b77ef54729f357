/**
 * Connections ended by the operator: marked, and the data plane resets each end with its next packet. UDP, and what a reset
 * has ended already, is nobody's from here on: there is nobody to be told.
 */
import type { FlowDrop } from '../control/protocol.js'
import {
  type ConnectionRecord,
  type ConnectionViews,
  changeLife,
  readConnection,
  viewConnections,
} from '../dataplane/connections.js'
import { connectionKind, connectionState } from '../dataplane/layout.js'
import { BalancerError } from '../errors.js'
import { stateOf, TCP } from './connection-state.js'
import type { FlowFilter } from './filter.js'
import { connectionId, indexOfId } from './id.js'
import { createScan, placeOfCursor } from './scan.js'
import type { FlowSources } from './sources.js'

export interface FlowsToDrop extends FlowFilter {
  readonly id?: string | undefined
  readonly all?: boolean | undefined
}

/** The data plane writes an entry at most with each packet: one of these finds it unchanged. */
const TRIES = 64

const changeFor = ({ protocol, clientSeen, serverSeen, kind, expires }: ConnectionRecord, now: number) => {
  const isOver = protocol !== TCP || stateOf(protocol, clientSeen, serverSeen) === connectionState.STATE_CLOSE
  return {
    kind: kind | connectionKind.CONNECTION_DROPPED,
    expires: isOver ? Math.max(0, now - 1) : expires,
  }
}

/** @param isMeant whether it is still the one that was looked for */
const dropOne = (
  views: ConnectionViews,
  index: number,
  now: number,
  isMeant: (record: ConnectionRecord) => boolean,
): boolean => {
  for (let tries = 0; tries < TRIES; tries++) {
    const read = readConnection(views, index, now)
    if (read === null || !isMeant(read.record)) return false
    if (read.record.kind & connectionKind.CONNECTION_DROPPED) return false
    if (changeLife(views, index, read.life, changeFor(read.record, now))) return true
  }
  return false
}

const dropById = (sources: FlowSources, id: string): FlowDrop => {
  const index = indexOfId(id)
  const views = viewConnections(sources.memory('connections'))
  if (index === null)
    throw new BalancerError('ERR_BAD_REQUEST', `"${id}" is no connection's id`, {
      hint: 'linimo flow list prints them, such as 66560:1f9a0c33',
    })
  const now = sources.connectionClock()
  const isMeant = (record: ConnectionRecord): boolean => connectionId(index, record) === id
  const read = index < views.length ? readConnection(views, index, now) : null
  if (read === null || !isMeant(read.record))
    throw new BalancerError('ERR_NOT_FOUND', `there is no connection ${id}: it has ended`, {
      hint: 'linimo flow list shows those that there are',
    })
  return { dropped: dropOne(views, index, now, isMeant) ? 1 : 0, tracked: 0 }
}

const isFilter = ({ service, backend, client, state }: FlowFilter): boolean =>
  [service, backend, client, state].some(part => part !== undefined)

const usage = (message: string): BalancerError =>
  new BalancerError('ERR_BAD_REQUEST', message, {
    hint: 'name a service, --backend, --client, --state or an id; --all drops every connection',
  })

/**
 * @throws BalancerError `ERR_BAD_REQUEST` when nothing is named; `ERR_NOT_FOUND`; `ERR_CONFLICT` when only tracked flows
 *         are meant, which cannot be dropped
 */
export const dropFlows = async (sources: FlowSources, toDrop: FlowsToDrop): Promise<FlowDrop> => {
  const { id, all = false, ...filter } = toDrop
  if (id !== undefined) {
    if (all || isFilter(filter)) throw usage('an id names one connection: give it alone')
    return dropById(sources, id)
  }
  if (all === isFilter(filter))
    throw usage(all ? '--all drops every connection: name no others' : 'which connections? nothing is named')
  const { run, matcher } = createScan(sources, filter)
  let dropped = 0
  let tracked = 0
  await run(placeOfCursor(undefined), {
    connection: (views, index, _, now) => {
      const isMeant = ({ backend, protocol, clientSeen, serverSeen }: ConnectionRecord): boolean =>
        matcher.matchesOwner(backend) &&
        matcher.matchesState(stateOf(protocol, clientSeen, serverSeen)) &&
        matcher.matchesClient(views.bytes, index)
      if (dropOne(views, index, now, isMeant)) dropped++
      return true
    },
    tracked: () => {
      tracked++
      return true
    },
  })
  if (dropped === 0 && tracked > 0 && !all) throw onlyTracked(tracked)
  return { dropped, tracked }
}

const onlyTracked = (tracked: number): BalancerError =>
  new BalancerError(
    'ERR_CONFLICT',
    `${tracked === 1 ? 'the flow' : `the ${tracked} flows`} meant ${tracked === 1 ? 'is' : 'are'} tracked, not translated: nothing to drop`,
    {
      hint: 'forgetting a tracked flow would move it to another backend, not end it; backend drain or disable ends them',
    },
  )
