/** One pass over the connections: whose live ones there are, and how many. Pure but for the memory. */
import { backendOf, isLive, placeOf, viewConnections } from './connections.js'

export interface ConnectionRequest {
  /** Reading of the connection clock. */
  readonly now: number
  /** Backend ids that there are. */
  readonly ids: number
  /** Numbers that connections have. */
  readonly numbers: number
}

export interface ConnectionsFound {
  /** Live connections, by backend id; SNAT's: 0. */
  readonly byBackend: Uint32Array
  /** And by the number of their local address. */
  readonly byNumber: Uint32Array
}

export const noConnectionsFound: ConnectionsFound = {
  byBackend: new Uint32Array(0),
  byNumber: new Uint32Array(0),
}

export const sweepConnections = (
  memory: ArrayBuffer,
  { now, ids, numbers }: ConnectionRequest,
): ConnectionsFound => {
  const views = viewConnections(memory)
  const [byBackend, byNumber] = [new Uint32Array(ids), new Uint32Array(numbers)]
  for (let index = 0; index < views.length; index++) {
    if (!isLive(views, index, now)) continue
    const backend = backendOf(views, index)
    if (backend < ids) byBackend[backend]!++
    const { number } = placeOf(index)
    if (number < numbers) byNumber[number]!++
  }
  return { byBackend, byNumber }
}
