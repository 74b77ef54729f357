/** What state a connection is in, by what its two ends have said: as state_of() of bpf/connection.h. Pure. */
import { connectionSeen, connectionState } from '../dataplane/layout.js'

const { SEEN_SYN, SEEN_ACK, SEEN_FIN, SEEN_FIN_FIRST, SEEN_RST } = connectionSeen
export const TCP = 6

const tcpState = (client: number, server: number): number => {
  if ((client | server) & SEEN_RST) return connectionState.STATE_CLOSE
  if (client & server & SEEN_FIN)
    return client & SEEN_FIN_FIRST ? connectionState.STATE_LAST_ACK : connectionState.STATE_TIME_WAIT
  if (client & SEEN_FIN) return connectionState.STATE_CLOSE_WAIT
  if (server & SEEN_FIN) return connectionState.STATE_FIN_WAIT
  if (!(server & SEEN_SYN)) return connectionState.STATE_SYN_SENT
  return client & SEEN_ACK ? connectionState.STATE_ESTABLISHED : connectionState.STATE_SYN_RECEIVED
}

/** @returns enum connection_state */
export const stateOf = (protocol: number, clientSeen: number, serverSeen: number): number => {
  if (protocol === TCP) return tcpState(clientSeen, serverSeen)
  return clientSeen & SEEN_ACK ? connectionState.STATE_UDP : connectionState.STATE_UDP_ONCE
}
