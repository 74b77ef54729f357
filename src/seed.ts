/** The instance's own seed of the flow hash: made once, kept where only its owner can read it. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BalancerError } from './errors.js'

const FILE = 'seed'

export interface SeedOptions {
  /** The seed of what an earlier process has left: where the file is gone, flows keep their slots by it. */
  readonly pinned?: string | null
  /** It could not be kept; without this that is an error. */
  readonly onUnsaved?: (error: BalancerError) => void
}

/** The file is there whole or not at all. */
const save = (stateDir: string, seed: string): void => {
  const path = join(stateDir, FILE)
  const temporary = `${path}.new`
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o755 })
    writeFileSync(temporary, `${seed}\n`, { mode: 0o600, flush: true })
    renameSync(temporary, path)
  } catch (cause) {
    try {
      unlinkSync(temporary)
    } catch {
      // it was never made
    }
    throw new BalancerError('ERR_STATE', `${path} cannot be written`, { cause })
  }
}

/**
 * Reads the seed from the state directory; makes it on the first run.
 *
 * @returns 32 hex digits
 * @throws BalancerError `ERR_STATE` when the file holds something else, or cannot be read or made
 */
export const instanceSeed = (stateDir: string, { pinned, onUnsaved }: SeedOptions = {}): string => {
  const path = join(stateDir, FILE)
  try {
    const text = readFileSync(path, 'utf8').trim()
    if (/^[0-9a-f]{32}$/.test(text)) return text
    throw new BalancerError('ERR_STATE', `${path} holds no seed of 32 hex digits`, {
      hint: 'remove it to have another made: every connection then may change its backend',
    })
  } catch (cause) {
    if (cause instanceof BalancerError) throw cause
    if ((cause as { code?: string }).code !== 'ENOENT')
      throw new BalancerError('ERR_STATE', `${path} cannot be read`, { cause })
  }
  const seed = pinned ?? randomBytes(16).toString('hex')
  try {
    save(stateDir, seed)
  } catch (error) {
    if (!onUnsaved || !(error instanceof BalancerError)) throw error
    onUnsaved(error)
  }
  return seed
}
