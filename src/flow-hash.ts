/** The keys of the flow hash, from the configuration's seed. The hash itself is the data plane's (bpf/ring.h). */
import { createHash } from 'node:crypto'
import type { HashPart, Service } from './model.js'
import { serviceIdentity } from './model.js'

/** 64 bits out of SHA-256, told apart by `purpose`. */
const derive = (seed: string, purpose: string): bigint =>
  createHash('sha256').update(Buffer.from(seed, 'hex')).update(purpose).digest().readBigUInt64BE()

/**
 * The data plane's multipliers: odd, for an even one would lose a bit.
 *
 * @param seed 32 hex digits
 */
export const hashKeys = (seed: string): bigint[] =>
  ['key 0', 'key 1', 'key 2', 'key 3'].map(purpose => derive(seed, purpose) | 1n)

/** A service's own seed: one client's ports 80 and 443 are different flows. */
export const hashSeed = (seed: string, service: Service): bigint =>
  derive(seed, `service ${serviceIdentity(service)}`)

/**
 * What of the flow the hash covers: bits 0-31 source address (all or none), 32-47 source port, 48-63 destination
 * port. The destination address is the service's, and so in its seed.
 */
export const hashMask = (parts: readonly HashPart[]): bigint =>
  (parts.includes('source') ? 0xffffffffn : 0n) |
  (parts.includes('source-port') ? 0xffffn << 32n : 0n) |
  (parts.includes('destination-port') ? 0xffffn << 48n : 0n)
