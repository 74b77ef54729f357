/** Directories on bpffs: checked before anything is touched, since node spins for ever when it makes them elsewhere. */
import { accessSync, constants, existsSync, mkdirSync, readdirSync, statfsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { BalancerError } from '../errors.js'

const BPF_FS_MAGIC = 0xcafe4a11
const USUAL_MOUNT = '/sys/fs/bpf'
/** Pins tell the flow hash's seed: nobody else's business. */
const MODE = 0o700

const codeOf = (cause: unknown): string | undefined => (cause as { code?: string }).code

/** The path itself, or the nearest directory above it that exists. */
const nearest = (path: string): string => (existsSync(path) ? path : nearest(dirname(path)))

export const isBpffs = (path: string): boolean => statfsSync(path).type === BPF_FS_MAGIC

/** Where the bpf file system that holds a path is mounted. */
const mountOf = (path: string): string => {
  const there = nearest(path)
  const above = dirname(there)
  return above !== there && isBpffs(above) ? mountOf(above) : there
}

/** An error of bpffs in words. */
export const bpffsError = (what: string, path: string, cause: unknown): BalancerError => {
  const code = codeOf(cause)
  if (code === 'EROFS')
    return new BalancerError('ERR_STATE', `${path} ${what}: the bpf file system is read-only`, {
      cause,
      hint: `\`mount -o remount,rw ${mountOf(path)}\` makes it writable; --no-pin runs without`,
    })
  if (code === 'EACCES' || code === 'EPERM')
    return new BalancerError('ERR_NOT_PERMITTED', `${path} ${what}: permission denied`, {
      cause,
      hint: 'run as root, or have the directory belong to who runs it',
    })
  return new BalancerError('ERR_STATE', `${path} ${what} (${code ?? String(cause)})`, { cause })
}

/**
 * @throws BalancerError `ERR_STATE` when it is not on bpffs, with the command that mounts one, or is read-only;
 * `ERR_NOT_PERMITTED`
 */
export const checkBpffs = (directory: string): void => {
  const path = resolve(directory)
  const there = nearest(path)
  if (!isBpffs(there)) {
    const mount = path.startsWith(`${USUAL_MOUNT}/`) ? USUAL_MOUNT : there
    throw new BalancerError(
      'ERR_STATE',
      `no bpf file system is mounted at ${mount}, where ${path} is to be`,
      {
        hint: `\`mount -t bpf bpf ${mount}\`; --no-pin runs without, and then packets stop with the daemon`,
      },
    )
  }
  try {
    accessSync(there, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw bpffsError('cannot be written', path, cause)
  }
}

/** Makes a directory and those above it, on bpffs alone. */
export const makeDirectory = (path: string): void => {
  if (existsSync(path)) return
  makeDirectory(dirname(path))
  try {
    mkdirSync(path, { mode: MODE })
  } catch (cause) {
    if (codeOf(cause) !== 'EEXIST') throw bpffsError('cannot be made', path, cause)
  }
}

/** Names in a directory; none where it is missing. */
export const namesIn = (path: string): readonly string[] => {
  try {
    return readdirSync(path)
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return []
    throw bpffsError('cannot be read', path, cause)
  }
}
