/** Loads the native addon. What it exports, and what each call does, is in native/index.d.ts. */
import { createRequire } from 'node:module'
import type * as Native from '../native/index.js'
import { BalancerError } from './errors.js'

export type * from '../native/index.js'

// The same path from src/ and from dist/.
const ADDON = '../build/native/Release/linimo.node'

/**
 * The addon; loaded at the first call, so that what needs no kernel works without it.
 *
 * @throws BalancerError `ERR_NOT_BUILT` when it is missing, or a library that it needs is
 */
export const loadNative = (): typeof Native => {
  try {
    return createRequire(import.meta.url)(ADDON)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split('\n', 1)[0] : String(cause)
    throw new BalancerError('ERR_NOT_BUILT', `the native addon cannot be loaded: ${why}`, {
      cause,
      hint: 'run `npm run setup`',
    })
  }
}
