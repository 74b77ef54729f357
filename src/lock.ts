/**
 * One process for each of an instance's directories. The lock is a socket's name in the kernel's own table (an abstract
 * unix socket): nothing is written anywhere, and it goes with its process, however that ends. The other end of a
 * connection to it is who holds it.
 */
import { createHash } from 'node:crypto'
import { existsSync, realpathSync, statSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { basename, dirname, join, resolve } from 'node:path'
import { BalancerError } from './errors.js'
import type { loadNative } from './native.js'

type PeerOf = ReturnType<typeof loadNative>['peerCredentials']

export interface Lock {
  release(): Promise<void>
}

/** The path as it is known to every process that shares the file system, whether or not it exists yet. */
const placeOf = (path: string): string => {
  if (!existsSync(path) && dirname(path) !== path) return join(placeOf(dirname(path)), basename(path))
  return join(`${statSync(path).dev}`, realpathSync(path))
}

const nameOf = (path: string): string =>
  `\0linimo-${createHash('sha256')
    .update(placeOf(resolve(path)))
    .digest('hex')}`

const descriptorOf = (socket: Socket): number =>
  (socket as unknown as { readonly _handle?: { readonly fd?: number } | null })._handle?.fd ?? -1

/** Who holds the lock of a path; null: nobody does. */
export const lockOwner = (path: string, peerOf: PeerOf): Promise<number | null> =>
  new Promise(done => {
    const socket = connect({ path: nameOf(path) })
    socket.once('connect', () => {
      const { pid } = peerOf(descriptorOf(socket))
      socket.destroy()
      done(pid)
    })
    socket.once('error', () => done(null))
  })

/** @returns null when another holds it */
const bind = (path: string): Promise<Server | null> =>
  new Promise((done, fail) => {
    const server = createServer(socket => socket.destroy())
    server.once('error', error => {
      if ((error as { code?: string }).code === 'EADDRINUSE') done(null)
      else fail(error)
    })
    server.listen({ path: nameOf(path) }, () => done(server.unref()))
  })

/**
 * Holds all paths, or none.
 *
 * @throws BalancerError `ERR_ALREADY_RUNNING` with the owner's pid
 */
export const takeLock = async (paths: readonly string[], peerOf: PeerOf): Promise<Lock> => {
  const held: Server[] = []
  const release = async (): Promise<void> => {
    for (const server of held.splice(0)) await new Promise<void>(done => server.close(() => done()))
  }
  for (const path of paths) {
    const server = await bind(path)
    if (server) {
      held.push(server)
      continue
    }
    const owner = await lockOwner(path, peerOf)
    await release()
    throw new BalancerError(
      'ERR_ALREADY_RUNNING',
      `a daemon${owner === null ? '' : `, process ${owner},`} has ${path} already`,
      { hint: 'end it first, or run another instance with --instance NAME' },
    )
  }
  return { release }
}
