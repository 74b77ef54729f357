/** The control socket's server. */
import { createServer, type Socket } from 'node:net'
import type { Log } from '../log.js'
import { encode } from './codec.js'
import { type Connection, serveConnection } from './connection.js'
import { listen, refuseSecond } from './listen.js'
import type { Event, Handlers, Peer } from './protocol.js'

/** Each may hold a megabyte or two: what they can take together stays bounded. */
const MAX_CONNECTIONS = 512

export interface ServeOptions {
  readonly socketPath: string
  readonly handlers: Handlers
  readonly log: Log
  /** The peer of a connected unix socket by its descriptor (SO_PEERCRED). */
  readonly peerOf: (fd: number) => Peer
}

export interface ControlServer {
  readonly socketPath: string
  /** Sends an event to every client that has subscribed; one too slow to read them is disconnected. */
  publish(event: Event): void
  /** Takes no more connections, removes the socket's file if it is still this server's, disconnects everybody. */
  close(): Promise<void>
}

/** Node keeps a socket's descriptor to itself. */
const descriptorOf = (socket: Socket): number =>
  (socket as unknown as { readonly _handle?: { readonly fd?: number } | null })._handle?.fd ?? -1

/**
 * For a daemon's start, before it touches anything.
 *
 * @throws BalancerError `ERR_ALREADY_RUNNING` when a daemon answers on the socket
 */
export const ensureNotRunning = ({
  socketPath,
  peerOf,
}: Pick<ServeOptions, 'socketPath' | 'peerOf'>): Promise<void> =>
  refuseSecond(socketPath, socket => peerOf(descriptorOf(socket)).pid)

/**
 * Answers requests on a unix socket, mode 0660, group `linimo` where it exists.
 *
 * @throws BalancerError `ERR_ALREADY_RUNNING` when another daemon answers there; `ERR_NOT_PERMITTED`; `ERR_USAGE`
 */
export const serve = async ({ socketPath, handlers, log, peerOf }: ServeOptions): Promise<ControlServer> => {
  const connections = new Set<Connection>()

  const server = createServer({ allowHalfOpen: true }, socket => {
    try {
      const connection = serveConnection(socket, peerOf(descriptorOf(socket)), handlers, log)
      connections.add(connection)
      socket.once('close', () => connections.delete(connection))
    } catch (err) {
      log.warn({ err }, 'a control connection is refused: its peer is unknown')
      socket.destroy()
    }
  })
  server.maxConnections = MAX_CONNECTIONS

  const removeFile = await listen(server, socketPath, socket => peerOf(descriptorOf(socket)).pid)
  server.on('error', err => log.error({ err, socketPath }, 'the control socket failed'))
  log.info({ socketPath }, 'the control socket is open')

  return {
    socketPath,
    publish(event) {
      const message = encode({ event: event.kind, data: event })
      for (const connection of connections) connection.push(message)
    },
    async close() {
      await removeFile()
      const closed = new Promise<void>(resolve => server.close(() => resolve()))
      for (const connection of connections) connection.close()
      await closed
    },
  }
}
