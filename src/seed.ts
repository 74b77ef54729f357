/** The instance's own seed of the flow hash: made once, kept where only its owner can read it. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BalancerError } from './errors.js'

const FILE = 'seed'

/**
 * Reads the seed from the state directory; makes it on the first run.
 *
 * @returns 32 hex digits
 * @throws BalancerError `ERR_STATE` when the file holds something else, or cannot be read or made
 */
export const instanceSeed = (stateDir: string): string => {
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
  const seed = randomBytes(16).toString('hex')
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o755 })
    writeFileSync(path, `${seed}\n`, { mode: 0o600, flag: 'wx' })
  } catch (cause) {
    throw new BalancerError('ERR_STATE', `${path} cannot be written`, { cause })
  }
  return seed
}
