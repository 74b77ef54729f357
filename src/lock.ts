/**
 * One process for each of an instance's directories. The lock is on the directory itself (flock): nothing is written, a
 * full or read-only disk does not matter, every network namespace sees it, and it goes with its process, however that
 * ends. /proc/locks tells who holds it.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmdirSync,
  statSync,
} from 'node:fs'
import { dirname, resolve } from 'node:path'
import { isBpffs } from './dataplane/bpffs.js'
import { BalancerError } from './errors.js'
import { loadNative } from './native.js'

export interface Lock {
  release(): void
}

/** On bpffs: pins tell the flow hash's seed. */
const PRIVATE = 0o700
const PUBLIC = 0o755
/** A directory that is removed while it is being locked is tried anew, so often. */
const MAX_TRIES = 10

const codeOf = (cause: unknown): string | undefined => (cause as { code?: string }).code

/** Makes a directory and those above it; node's own way of that spins for ever on some file systems. @returns what it has made */
const make = (path: string): readonly string[] => {
  if (existsSync(path)) return []
  const above = make(dirname(path))
  try {
    mkdirSync(path, { mode: isBpffs(dirname(path)) ? PRIVATE : PUBLIC })
    return [path, ...above]
  } catch (cause) {
    if (codeOf(cause) !== 'EEXIST') throw cause
    return above
  }
}

/** major:minor:inode, as /proc/locks has it. */
const placeOf = ({ dev, ino }: { readonly dev: bigint; readonly ino: bigint }): string => {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn)
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn)
  const hex = (value: bigint): string => value.toString(16).padStart(2, '0')
  return `${hex(major)}:${hex(BigInt.asUintN(32, minor))}:${ino}`
}

const holderOf = (place: string): number | null => {
  for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
    const [, kind, , , pid, where] = line.trim().split(/\s+/)
    if (kind === 'FLOCK' && where === place) return Number(pid)
  }
  return null
}

/** Who holds the lock of a directory; null: nobody does, or a process of another PID namespace. */
export const lockOwner = (path: string): number | null => {
  const there = statSync(path, { bigint: true, throwIfNoEntry: false })
  return there ? holderOf(placeOf(there)) : null
}

interface Held {
  readonly fd: number
  /** Directories that were made for the lock, the innermost first. */
  readonly made: readonly string[]
}

const runningError = (path: string): BalancerError => {
  const owner = lockOwner(path)
  return new BalancerError(
    'ERR_ALREADY_RUNNING',
    `a daemon${owner === null ? '' : `, process ${owner},`} has ${path} already`,
    { hint: 'end it first, or run another instance with --instance NAME' },
  )
}

/** The directory's inode may be another by the time that it is locked: then nobody else would see the lock. */
const take = (path: string): Held => {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const made = make(path)
    const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY)
    if (!loadNative().tryLock(fd)) {
      closeSync(fd)
      throw runningError(path)
    }
    const there = statSync(path, { bigint: true, throwIfNoEntry: false })
    const { dev, ino } = fstatSync(fd, { bigint: true })
    if (there?.ino === ino && there.dev === dev) return { fd, made }
    closeSync(fd)
  }
  throw new BalancerError('ERR_STATE', `${path} cannot be locked: it is removed again and again`)
}

const locked = (path: string): Held => {
  try {
    return take(path)
  } catch (cause) {
    if (cause instanceof BalancerError) throw cause
    const code = codeOf(cause)
    const isDenied = code === 'EACCES' || code === 'EPERM'
    throw new BalancerError(
      isDenied ? 'ERR_NOT_PERMITTED' : 'ERR_STATE',
      `the directory ${path} cannot be made, or be locked (${code ?? String(cause)})`,
      { cause, hint: isDenied ? 'run as root' : 'make it, or name another: --state-dir, --pin-dir' },
    )
  }
}

/**
 * Holds the locks of all directories, or of none; those that are missing are made.
 *
 * @throws BalancerError `ERR_ALREADY_RUNNING` with the owner's pid; `ERR_STATE`, `ERR_NOT_PERMITTED`
 */
export const takeLock = (paths: readonly string[]): Lock => {
  const held: Held[] = []
  const release = (): void => {
    for (const { fd, made } of held.splice(0)) {
      try {
        for (const path of made) rmdirSync(path)
      } catch {
        // in use, or gone: only what was made for the lock alone is removed
      }
      closeSync(fd)
    }
  }
  try {
    for (const path of paths) held.push(locked(resolve(path)))
    return { release }
  } catch (error) {
    release()
    throw error
  }
}
