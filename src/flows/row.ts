/** A flow as it is told: from what the tables hold to a row. Pure. */
import { addressText } from '../address.js'
import type { FlowRow } from '../control/protocol.js'
import type { ConnectionRecord } from '../dataplane/connections.js'
import { connectionKind } from '../dataplane/layout.js'
import type { TrackedFlow } from '../dataplane/tracked-flows.js'
import { stateOf, TCP } from './connection-state.js'
import { connectionId } from './id.js'
import type { FlowOwner } from './owners.js'
import { connectionStates, trackedStates } from './states.js'

const { CONNECTION_KIND_MASK, CONNECTION_FULLNAT, CONNECTION_SNAT, CONNECTION_DROPPED } = connectionKind

/** By enum connection_kind. */
export const kindName = (kind: number): 'fullnat' | 'snat' | 'nat' => {
  const one = kind & CONNECTION_KIND_MASK
  return one === CONNECTION_FULLNAT ? 'fullnat' : one === CONNECTION_SNAT ? 'snat' : 'nat'
}

export interface ConnectionPlace {
  readonly index: number
  readonly port: number
  /** null: its number has no address. */
  readonly local: string | null
  /** Seconds by enum connection_state. */
  readonly times: ArrayLike<number>
  /** Reading of the connection clock. */
  readonly now: number
}

export const connectionRow = (
  record: ConnectionRecord,
  owner: FlowOwner | null,
  { index, port, local, times, now }: ConnectionPlace,
): FlowRow => {
  const state = stateOf(record.protocol, record.clientSeen, record.serverSeen)
  const expires = record.expires - now
  const kind = kindName(record.kind)
  const hasLocal = kind !== 'nat' && local !== null
  return {
    id: connectionId(index, record),
    kind,
    service: owner?.service ?? null,
    backend: owner?.backend ?? null,
    protocol: record.protocol === TCP ? 'tcp' : 'udp',
    client: addressText(record.client),
    clientPort: record.clientPort,
    server: addressText(record.server),
    serverPort: record.serverPort,
    local: hasLocal ? local : null,
    localPort: hasLocal ? port : null,
    state: connectionStates[state]!,
    idle: Math.max(0, (times[state] ?? 0) - expires),
    expires,
    dropped: (record.kind & CONNECTION_DROPPED) !== 0,
  }
}

export const trackedRow = ({ kind, idle, lifetime }: TrackedFlow, owner: FlowOwner): FlowRow => ({
  id: null,
  kind: 'tracked',
  service: owner.service,
  backend: owner.backend,
  protocol: owner.protocol,
  client: null,
  clientPort: null,
  server: null,
  serverPort: null,
  local: null,
  localPort: null,
  state: trackedStates[kind - 1] ?? 'open',
  idle,
  expires: lifetime - idle,
  dropped: false,
})
