/** `linimo detach`: the only way out. Ends the daemon if there is one, then removes all that is pinned. */
import { existsSync, readFileSync } from 'node:fs'
import { connect } from './control/client.js'
import { checkBpffs } from './dataplane/bpffs.js'
import { openPins } from './dataplane/pins.js'
import { BalancerError } from './errors.js'
import type { InstancePaths } from './instance.js'
import { lockOwner, takeLock } from './lock.js'
import type { Log } from './log.js'

/** How long a daemon may take to end. */
const END_LIMIT_MS = 10_000
const POLL_MS = 20

export interface Detached {
  /** The daemon that was ended. */
  readonly pid: number | null
  /** Indexes of the interfaces that it was attached to. */
  readonly interfaces: readonly number[]
  /** Something was pinned, and is no more. */
  readonly removed: boolean
  /** What is left in the directory: not of Linimo. */
  readonly left: readonly string[]
}

/** The daemon's process: by its lock, or by its socket where that is of other directories. */
const daemonOf = async ({ pinDir, stateDir, socketPath }: InstancePaths): Promise<number | null> => {
  const pid = lockOwner(pinDir) ?? lockOwner(stateDir)
  if (pid !== null) return pid
  try {
    const client = await connect({ socketPath })
    try {
      return (await client.call('status')).pid
    } finally {
      await client.close()
    }
  } catch {
    return null
  }
}

/** One that has ended, and whose parent does not care, is no longer alive. */
const isAlive = (pid: number): boolean => {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** SIGTERM leaves packets flowing; what is pinned is removed afterwards, when nobody writes to it any more. */
const endDaemon = async (pid: number): Promise<void> => {
  try {
    process.kill(pid, 'SIGTERM')
  } catch (cause) {
    if ((cause as { code?: string }).code === 'ESRCH') return
    throw new BalancerError('ERR_NOT_PERMITTED', `the daemon, process ${pid}, cannot be ended`, {
      cause,
      hint: 'run as root',
    })
  }
  for (let waited = 0; isAlive(pid); waited += POLL_MS) {
    if (waited >= END_LIMIT_MS)
      throw new BalancerError('ERR_TIMEOUT', `the daemon, process ${pid}, does not end`, {
        hint: `\`kill -9 ${pid}\`, then \`linimo detach\` again: packets flow until then`,
      })
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
}

const silent: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** @throws BalancerError `ERR_NOT_PERMITTED`, `ERR_TIMEOUT`, `ERR_STATE` */
export const detachInstance = async (paths: InstancePaths): Promise<Detached> => {
  const pid = await daemonOf(paths)
  if (pid !== null) await endDaemon(pid)
  const { pinDir, stateDir } = paths
  const lock = takeLock([stateDir, pinDir].filter(path => existsSync(path)))
  try {
    try {
      checkBpffs(pinDir)
    } catch (error) {
      // Without a bpf file system there are no pins.
      if (error instanceof BalancerError && error.code === 'ERR_STATE' && !isReadOnly(error))
        return { pid, interfaces: [], removed: false, left: [] }
      throw error
    }
    const pins = openPins(pinDir, silent)
    const isThere = pins.isThere()
    const interfaces = await pins.detachAll()
    const left = pins.remove()
    return { pid, interfaces, removed: isThere, left }
  } finally {
    lock.release()
  }
}

const isReadOnly = (error: BalancerError): boolean => (error.cause as { code?: string })?.code === 'EROFS'
