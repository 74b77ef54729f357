import type { Fault } from './faults.js'

/** Of connections: seen by random histories against the laws of test/connections. */
export const connectionFaults: readonly Fault[] = [
  {
    description: 'who closed first does not matter',
    file: 'connection_life.h',
    search: 'return client & SEEN_FIN_FIRST ? STATE_LAST_ACK : STATE_TIME_WAIT;',
    replace: 'return STATE_TIME_WAIT;',
  },
  {
    description: 'a second datagram renews a flow no longer than the first',
    file: 'connection_life.h',
    search: 'return client & SEEN_ACK ? STATE_UDP : STATE_UDP_ONCE;',
    replace: 'return STATE_UDP_ONCE;',
  },
  {
    description: 'a handshake that the backend has answered counts as established',
    file: 'connection_life.h',
    search: 'return client & SEEN_ACK ? STATE_ESTABLISHED : STATE_SYN_RECEIVED;',
    replace: 'return STATE_ESTABLISHED;',
  },
  {
    description: 'a reset is believed though its connection goes on',
    file: 'connection_life.h',
    search: 'if (life.protocol == IPPROTO_TCP && !(kind & TCP_RST)) {',
    replace: 'if (0) {',
  },
  {
    description: 'an entry is over a second early',
    file: 'connection_life.h',
    search: '(__s32)(now - life.expires) > 0',
    replace: '(__s32)(now - life.expires) >= 0',
  },
  {
    description: 'a SYN opens nothing anew while its connection closes',
    file: 'recall_connection.h',
    search: 'state >= STATE_FIN_WAIT',
    replace: 'state > STATE_UDP_ONCE',
  },
  {
    description: 'words of the index stay when their connection is over',
    file: 'pool_search.h',
    search: 'claimed.protocol = life.protocol;',
    replace: 'claimed.protocol = 0;',
  },
  {
    description: 'SNAT takes replies from any port of the host',
    file: 'come_back.h',
    search: 'connection->server_port == (__be16)pkt->ports &&',
    replace: '',
  },
  {
    description: 'FULLNAT takes replies from anybody',
    file: 'come_back.h',
    search: 'is_backends(connection, pkt->src_hi, pkt->src_lo, pkt->ports);',
    replace: '1;',
  },
  {
    description: 'the reply’s sums are those of the request',
    file: 'come_back.h',
    search: 'deltas = ~deltas_of(connection);',
    replace: 'deltas = deltas_of(connection);',
  },
  {
    description: 'a SYN to a local address is a reply',
    file: 'come_back.h',
    search: 'return PASS_NOT_A_SERVICE; /* never a reply */',
    replace: ';',
  },
]
