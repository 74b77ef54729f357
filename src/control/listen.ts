/** A unix socket that only one daemon holds: made ready under a temporary name, then linked to its own. */
import { randomBytes } from 'node:crypto'
import { chmod, chown, link, mkdir, readFile, stat, unlink } from 'node:fs/promises'
import { connect, type Server, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { BalancerError } from '../errors.js'

const SOCKET_MODE = 0o660
const GROUP = 'linimo'
/** sockaddr_un.sun_path, less its final NUL. */
const MAX_PATH_BYTES = 107

type PidOf = (socket: Socket) => number
const UNKNOWN_PID = -1

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : undefined

const inodeOf = async (path: string): Promise<number | null> => {
  try {
    return (await stat(path)).ino
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw error
  }
}

/** Makes a missing directory and its missing parents, 0755 whatever the umask. */
const makeDirectory = async (path: string): Promise<void> => {
  const first = await mkdir(path, { recursive: true })
  if (first === undefined) return
  for (let made = path; made.length >= first.length; made = dirname(made)) await chmod(made, 0o755)
}

/** The id of group `linimo`; null where there is none. Read from /etc/group, as Node cannot ask the name service. */
const groupId = async (): Promise<number | null> => {
  const groups = await readFile('/etc/group', 'utf8').catch(() => '')
  const line = groups.split('\n').find(line => line.startsWith(`${GROUP}:`))
  const id = Number(line?.split(':')[2])
  return line === undefined || !Number.isInteger(id) ? null : id
}

/** A daemon that is neither root nor of the group keeps its socket to itself. */
const giveToGroup = async (path: string, gid: number): Promise<void> => {
  try {
    await chown(path, -1, gid)
  } catch (error) {
    if (codeOf(error) !== 'EPERM') throw error
  }
}

/** The process that takes connections on a socket, null when none does. */
const listenerOf = (socketPath: string, pidOf: PidOf): Promise<number | null> =>
  new Promise((resolve, reject) => {
    const socket = connect({ path: socketPath })
    socket.once('connect', () => {
      const pid = pidOf(socket)
      socket.destroy()
      resolve(pid)
    })
    socket.once('error', error => {
      const code = codeOf(error)
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(null)
      else if (code === 'EAGAIN')
        resolve(UNKNOWN_PID) // its backlog is full
      else reject(error)
    })
  })

const bind = (server: Server, path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ path }, () => {
      server.removeListener('error', reject)
      resolve()
    })
  })

const alreadyRunning = (socketPath: string, pid: number): BalancerError =>
  new BalancerError(
    'ERR_ALREADY_RUNNING',
    `a daemon answers on ${socketPath} already${pid === UNKNOWN_PID ? '' : `: process ${pid}`}`,
    { hint: 'end it first, or run another instance with --instance NAME' },
  )

/**
 * For before anything is touched: a daemon that comes second must not disturb the first.
 *
 * @throws BalancerError `ERR_ALREADY_RUNNING` when somebody answers on the socket
 */
export const refuseSecond = async (socketPath: string, pidOf: PidOf): Promise<void> => {
  const pid = await listenerOf(socketPath, pidOf)
  if (pid !== null) throw alreadyRunning(socketPath, pid)
}

/** Gives the socket its name. A file that nobody answers on is replaced, and only that very file. */
const publish = async (temporary: string, socketPath: string, pidOf: PidOf): Promise<void> => {
  for (let attempt = 0; attempt < 5; attempt++) {
    const present = await inodeOf(socketPath)
    try {
      await link(temporary, socketPath)
      return
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
    }
    await refuseSecond(socketPath, pidOf)
    if (present === null || present !== (await inodeOf(socketPath))) continue
    if (!(await stat(socketPath)).isSocket())
      throw new BalancerError('ERR_CONFLICT', `${socketPath} is there and is no socket`, {
        hint: 'remove it, or choose another path with --socket',
      })
    await unlink(socketPath)
  }
  throw alreadyRunning(socketPath, UNKNOWN_PID)
}

/**
 * Listens on `socketPath` with mode 0660 and group `linimo`.
 *
 * @param pidOf the process at the other end of a connected socket
 * @returns a function that removes the socket's file, unless it has become another's
 * @throws BalancerError `ERR_ALREADY_RUNNING` when a daemon answers there, `ERR_NOT_PERMITTED`, `ERR_USAGE`
 */
export const listen = async (
  server: Server,
  socketPath: string,
  pidOf: PidOf,
): Promise<() => Promise<void>> => {
  const temporary = join(dirname(socketPath), `.${randomBytes(4).toString('hex')}`)
  if (Buffer.byteLength(socketPath) > MAX_PATH_BYTES || Buffer.byteLength(temporary) > MAX_PATH_BYTES)
    throw new BalancerError('ERR_USAGE', `${socketPath}: longer than a socket's path may be`, {
      hint: `at most ${MAX_PATH_BYTES} bytes; choose another with --socket`,
    })
  try {
    await makeDirectory(dirname(socketPath))
    await bind(server, temporary) // libuv removes this name, and no other, when the server is closed
    try {
      await chmod(temporary, SOCKET_MODE)
      const gid = await groupId()
      if (gid !== null) await giveToGroup(temporary, gid)
      await publish(temporary, socketPath, pidOf)
    } catch (error) {
      server.close()
      throw error
    } finally {
      await unlink(temporary).catch(() => undefined)
    }
  } catch (cause) {
    if (codeOf(cause) !== 'EACCES' && codeOf(cause) !== 'EPERM') throw cause
    const hint = 'run as root, or choose another path with --socket'
    throw new BalancerError('ERR_NOT_PERMITTED', `the control socket ${socketPath} cannot be made`, {
      cause,
      hint,
    })
  }

  const own = await inodeOf(socketPath)
  return async () => {
    if (own !== null && own === (await inodeOf(socketPath))) await unlink(socketPath).catch(() => undefined)
  }
}
