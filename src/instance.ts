/** Where an instance (one daemon with its maps) keeps its socket, its pins and its state. */
import { join } from 'node:path'
import { BalancerError } from './errors.js'

export interface InstancePaths {
  readonly socketPath: string
  /** A directory in bpffs. */
  readonly pinDir: string
  readonly stateDir: string
}

export const DEFAULT_INSTANCE = 'main'

/**
 * The instance meant: as given, else by the environment's LINIMO_INSTANCE, else `main`.
 *
 * @throws BalancerError `ERR_USAGE` for a name that is no label: it becomes part of paths
 */
export const instanceName = (
  given?: string,
  env: Readonly<Record<string, string | undefined>> = {},
): string => {
  const name = given ?? (env.LINIMO_INSTANCE || DEFAULT_INSTANCE)
  if (/^[a-z0-9-]{1,40}$/.test(name)) return name
  throw new BalancerError('ERR_USAGE', `"${name}" cannot name an instance`, {
    hint: 'a name is 1 to 40 of a-z, 0-9 and "-"',
  })
}

/** The instance's own paths, each replaced by the one given. */
export const instancePaths = (
  instance: string,
  given: { readonly [P in keyof InstancePaths]?: string | undefined } = {},
): InstancePaths => ({
  socketPath: given.socketPath ?? join('/run/linimo', instance, 'control.sock'),
  pinDir: given.pinDir ?? join('/sys/fs/bpf/linimo', instance),
  stateDir: given.stateDir ?? join('/var/lib/linimo', instance),
})
