/** Which flows are meant, by name, client and state: what is compared for each entry is made once. */
import { connectionLayout } from '../dataplane/layout.js'
import { BalancerError } from '../errors.js'
import { type Clients, includes, parseClients } from './client.js'
import type { Owners } from './owners.js'
import { connectionStates, trackedStates } from './states.js'

const { size, fields } = connectionLayout
const connectionNames: readonly string[] = connectionStates
const trackedNames: readonly string[] = trackedStates

export interface FlowFilter {
  readonly service?: string | undefined
  readonly backend?: string | undefined
  /** As parseClients has it. */
  readonly client?: string | undefined
  readonly state?: string | undefined
}

export interface Matcher {
  /** By backend id: SNAT's is 0. */
  matchesOwner(id: number): boolean
  /** Whether a connection's client is meant. */
  matchesClient(bytes: Uint8Array, index: number): boolean
  /** @param state enum connection_state */
  matchesState(state: number): boolean
  /** @param kind enum flow_class */
  matchesTracked(kind: number): boolean
  /** Whether there are tracked flows among what is meant: their addresses are not known. */
  readonly takesTracked: boolean
}

/** @throws BalancerError `ERR_BAD_REQUEST` */
export const clientsOf = (client: string | undefined): Clients | null => {
  if (client === undefined) return null
  const clients = parseClients(client)
  if (clients !== null) return clients
  throw new BalancerError('ERR_BAD_REQUEST', `"${client}" names no clients`, {
    hint: 'an address, a prefix, or ADDRESS:PORT: 192.0.2.0/24, [2001:db8::1]:4321',
  })
}

/** @throws BalancerError `ERR_BAD_REQUEST` */
export const createMatcher = (filter: FlowFilter, owners: Owners): Matcher => {
  const { service, backend, state } = filter
  const clients = clientsOf(filter.client)
  const connection = state === undefined ? -1 : connectionNames.indexOf(state)
  const tracked = state === undefined ? -1 : trackedNames.indexOf(state)
  const isAnyOwner = service === undefined && backend === undefined
  const decided = new Map<number, boolean>()

  const decide = (id: number): boolean => {
    const owner = owners(id)
    if (owner === null) return false
    return (
      (service === undefined || owner.service === service) &&
      (backend === undefined || owner.backend === backend)
    )
  }

  return {
    matchesOwner: id => {
      if (isAnyOwner) return true
      const before = decided.get(id)
      if (before !== undefined) return before
      const is = decide(id)
      decided.set(id, is)
      return is
    },
    matchesClient: (bytes, index) => {
      if (clients === null) return true
      const at = index * size
      if (!includes(clients, bytes, at + fields.client.offset)) return false
      const port = at + fields.clientPort.offset
      return clients.port === null || ((bytes[port]! << 8) | bytes[port + 1]!) === clients.port
    },
    matchesState: one => state === undefined || one === connection,
    matchesTracked: kind => state === undefined || kind - 1 === tracked,
    takesTracked: clients === null && (state === undefined || tracked >= 0),
  }
}
