/**
 * The record of what join has changed: a small JSON file, replaced as a whole, and written before anything is done. What
 * it tells of goes with the boot and with the network namespace, and so does its meaning.
 */
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { BalancerError } from '../errors.js'
import { replaceFileSync } from '../journal-file.js'
import { loadNative } from '../native.js'
import { type Setting, settingSchema } from './setting.js'

const DIRECTORY = '/run/linimo'
const MODE = 0o600
const LOCK_STEP_MS = 50
const LOCK_PATIENCE_MS = 10_000

const contents = z.strictObject({
  format: z.literal('linimo-join 1'),
  boot: z.string(),
  namespace: z.string(),
  /** In the order in which they were made. */
  settings: z.array(settingSchema),
})

const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()

/** Each network namespace has a file of its own; the host's is the first that the kernel has made. */
export const defaultStatePath = (): string => join(DIRECTORY, `join-${loadNative().networkNamespace()}.json`)

export interface StateFile {
  readonly path: string
  /**
   * Waits for others who change this host by a file in the same directory, then works.
   *
   * @throws BalancerError `ERR_CONFLICT` after 10 s
   */
  alone<T>(work: () => Promise<T>): Promise<T>
  /**
   * @returns what was changed here since the boot; none when the file is missing or of an earlier boot
   * @throws BalancerError `ERR_STATE` when it is damaged, or of another network namespace
   */
  read(): readonly Setting[]
  /** No settings: the file is removed. @throws BalancerError `ERR_STATE`, `ERR_NOT_PERMITTED` */
  write(settings: readonly Setting[]): void
}

const codeOf = (cause: unknown): string | undefined => (cause as { code?: string }).code

const cannot = (what: string, path: string, cause: unknown): BalancerError =>
  codeOf(cause) === 'EACCES' || codeOf(cause) === 'EPERM'
    ? new BalancerError('ERR_NOT_PERMITTED', `${path} cannot be ${what}: permission denied`, {
        cause,
        hint: 'run as root, or name another file with --state',
      })
    : new BalancerError('ERR_STATE', `${path} cannot be ${what} (${codeOf(cause) ?? String(cause)})`, {
        cause,
        hint: 'name another file with --state',
      })

const parse = (path: string, text: string): z.infer<typeof contents> => {
  try {
    return contents.parse(JSON.parse(text))
  } catch (cause) {
    throw new BalancerError('ERR_STATE', `${path} is not understood: what join has changed is not known`, {
      cause,
      hint: 'undo it by hand (`linimo join --check` names what is set), then remove the file',
    })
  }
}

const openDirectory = (path: string): number => {
  const directory = dirname(resolve(path))
  try {
    mkdirSync(directory, { recursive: true, mode: 0o755 })
    return openSync(directory, 'r')
  } catch (cause) {
    throw cannot('written', path, cause)
  }
}

/** By flock(2) on the directory: it goes with its process, however that ends. */
const alone = async <T>(path: string, work: () => Promise<T>): Promise<T> => {
  const fd = openDirectory(path)
  try {
    for (let waited = 0; !loadNative().tryLock(fd); waited += LOCK_STEP_MS) {
      if (waited >= LOCK_PATIENCE_MS)
        throw new BalancerError('ERR_CONFLICT', 'another join or leave is under way on this host', {
          hint: `it holds a lock on ${dirname(resolve(path))}`,
        })
      await sleep(LOCK_STEP_MS)
    }
    return await work()
  } finally {
    closeSync(fd)
  }
}

export const openStateFile = (path: string): StateFile => ({
  path,
  alone: work => alone(path, work),
  read: () => {
    let text: string
    try {
      text = readFileSync(path, 'utf8')
    } catch (cause) {
      if (codeOf(cause) === 'ENOENT') return []
      throw cannot('read', path, cause)
    }
    const { boot, namespace, settings } = parse(path, text)
    if (boot !== bootId()) return []
    if (namespace !== loadNative().networkNamespace())
      throw new BalancerError('ERR_STATE', `${path} is of another network namespace`, {
        hint: 'run this there, or name another file with --state',
      })
    return settings
  },
  write: settings => {
    try {
      if (settings.length === 0) {
        return rmSync(path, { force: true })
      }
      const text = JSON.stringify(
        {
          format: 'linimo-join 1',
          boot: bootId(),
          namespace: loadNative().networkNamespace(),
          settings: [...settings],
        } satisfies z.infer<typeof contents>,
        null,
        2,
      )
      replaceFileSync(path, `${text}\n`, MODE)
    } catch (cause) {
      throw cannot('written', path, cause)
    }
  },
})
