/**
 * What connections there are, by the packets of both ends and the clock: who has which local port, in what state, until
 * when. Ports are the data plane's to choose; whether it may, is said here.
 */
import type { ConnectionTimes } from './tables.js'

export type State = keyof ConnectionTimes

export interface Heard {
  syn: boolean
  /** TCP: a packet without SYN; UDP: a second one. */
  ack: boolean
  fin: boolean
  /** Its FIN came before the other end's. */
  finFirst: boolean
  rst: boolean
}

export interface Connection {
  /** What its client's packets are known by: protocol, both ends. */
  readonly tuple: string
  readonly kind: 'fullnat' | 'snat' | 'nat'
  readonly isTcp: boolean
  readonly times: ConnectionTimes
  readonly backend: number
  /** Address and port; NAT by flow: what its backend's packets are known by. */
  readonly local: string
  readonly pool: number
  client: Heard
  server: Heard
  /** Seconds; free afterwards. */
  expires: number
}

export interface Flags {
  readonly syn: boolean
  readonly ack: boolean
  readonly fin: boolean
  readonly rst: boolean
}

const unheard = (): Heard => ({ syn: false, ack: false, fin: false, finFirst: false, rst: false })

const isClosing = ({ client, server }: Connection): boolean =>
  client.fin || server.fin || client.rst || server.rst

export const stateOf = (connection: Connection): State => {
  const { client, server, isTcp } = connection
  if (!isTcp) return client.ack ? 'udp' : 'udpOnce'
  if (client.rst || server.rst) return 'close'
  if (client.fin && server.fin) return client.finFirst ? 'lastAck' : 'timeWait'
  if (server.fin) return 'finWait'
  if (client.fin) return 'closeWait'
  if (!server.syn) return 'synSent'
  return client.ack ? 'established' : 'synReceived'
}

/**
 * One that is over keeps its place until another takes it, or its tuple begins anew: a late packet of it may still go
 * through, and then it lives on.
 */
export interface Connections {
  /** The one that lives, of a client's packet. */
  byTuple(tuple: string, now: number): Connection | undefined
  /** Or of a backend's. */
  byLocal(local: string, now: number): Connection | undefined
  /** The one that is over and still in its place. */
  lapsedByTuple(tuple: string, now: number): Connection | undefined
  lapsedByLocal(local: string, now: number): Connection | undefined
  /** Those that live in a pool. */
  count(pool: number, now: number): number
  live(now: number): readonly Connection[]
  /** A new one, as yet without a packet. */
  open(fields: Omit<Connection, 'client' | 'server' | 'expires'>, now: number): Connection
  /** Its first packet is of a connection that is older than the balancer's knowledge of it: both ends have spoken. */
  join(connection: Connection): void
  /** A packet of one of its ends has gone through. */
  hear(connection: Connection, from: 'client' | 'server', flags: Flags, now: number): void
}

const hearTcp = (connection: Connection, from: 'client' | 'server', flags: Flags): void => {
  // A client that opens anew while the old connection closes gets the same port, and nothing of its past.
  if (from === 'client' && flags.syn && !flags.ack && isClosing(connection)) {
    connection.client = unheard()
    connection.server = unheard()
  }
  const own = connection[from]
  const other = connection[from === 'client' ? 'server' : 'client']
  if (flags.rst) {
    own.rst = true
    return
  }
  // Who goes on has not been reset: anybody may send a RST that its receiver does not believe.
  own.rst = false
  other.rst = false
  if (flags.syn) own.syn = true
  else own.ack = true
  if (flags.fin && !own.fin) {
    own.fin = true
    own.finFirst = !other.fin
  }
}

export const createConnections = (): Connections => {
  let all: Connection[] = []
  const live = (now: number): Connection[] => all.filter(({ expires }) => expires >= now)
  const lapsed = (now: number): Connection[] => all.filter(({ expires }) => expires < now)
  return {
    byTuple: (tuple, now) => live(now).find(one => one.tuple === tuple),
    byLocal: (local, now) => live(now).find(one => one.local === local),
    lapsedByTuple: (tuple, now) => lapsed(now).find(one => one.tuple === tuple),
    lapsedByLocal: (local, now) => lapsed(now).find(one => one.local === local),
    count: (pool, now) => live(now).filter(one => one.pool === pool).length,
    live,
    open: (fields, now) => {
      const connection = { ...fields, client: unheard(), server: unheard(), expires: now }
      all = all.filter(({ tuple, local }) => tuple !== fields.tuple && local !== fields.local)
      all.push(connection)
      return connection
    },
    join: connection => {
      connection.server.syn = true
    },
    hear: (connection, from, flags, now) => {
      if (connection.isTcp) hearTcp(connection, from, flags)
      else if (connection[from].syn) connection[from].ack = true
      else connection[from].syn = true
      connection.expires = now + connection.times[stateOf(connection)]
    },
  }
}
