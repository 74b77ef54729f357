/** Where a backend's preferences begin and how they go on, from its address and port alone. */
import { createHash } from 'node:crypto'
import { addressBytes } from '../address.js'

/** A backend's preference list: offset, offset + skip, offset + 2 skip ... modulo the ring's size. */
export interface Permutation {
  readonly offset: number
  /** 1..size-1: since the size is a prime, every slot comes up once. */
  readonly skip: number
}

/** What is derived from an identity once and for all rings. */
export interface Identity {
  readonly bytes: Uint8Array
  /** The 18 bytes of address and port as three 48-bit numbers: their order is the order of claims. */
  readonly order: readonly [number, number, number]
  /** The first two u64 of the digest, each as upper and lower 32 bits. */
  readonly offset: readonly [number, number]
  readonly skip: readonly [number, number]
}

/** Bounds the memory of what was derived; more backends than a data plane can hold are never configured. */
const MAX_REMEMBERED = 1 << 20
const remembered = new Map<string, Identity>()

/** 16 bytes of address (IPv4 as ::ffff:a.b.c.d), then the port, big-endian. */
export const identityBytes = (address: string, port: number): Buffer => {
  const bytes = Buffer.alloc(18)
  bytes.set(addressBytes(address))
  bytes.writeUInt16BE(port, 16)
  return bytes
}

const bytesOf = (identity: string): Buffer => {
  const colon = identity.lastIndexOf(':')
  return identityBytes(
    identity.slice(0, colon).replace(/^\[|\]$/g, ''),
    Number.parseInt(identity.slice(colon + 1), 10),
  )
}

const derive = (bytes: Uint8Array): Identity => {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const digest = createHash('sha256').update(buffer).digest()
  return {
    bytes,
    order: [buffer.readUIntBE(0, 6), buffer.readUIntBE(6, 6), buffer.readUIntBE(12, 6)],
    offset: [digest.readUInt32BE(0), digest.readUInt32BE(4)],
    skip: [digest.readUInt32BE(8), digest.readUInt32BE(12)],
  }
}

/** @param identity "10.0.0.11:80" or "[2001:db8::1]:80", as `backendIdentity` makes it; or its 18 bytes */
export const identityOf = (identity: string | Uint8Array): Identity => {
  if (typeof identity !== 'string') return derive(identity)
  const known = remembered.get(identity)
  if (known) return known
  if (remembered.size >= MAX_REMEMBERED) remembered.clear()
  const derived = derive(bytesOf(identity))
  remembered.set(identity, derived)
  return derived
}

/** A u64 modulo a number below 2^20, without leaving the integers that a double holds. */
const modulo = ([high, low]: readonly [number, number], divisor: number): number =>
  ((high % divisor) * (2 ** 32 % divisor) + low) % divisor

/** @param size a prime below 2^20 */
export const permutation = (identity: string | Uint8Array | Identity, size: number): Permutation => {
  const { offset, skip } =
    typeof identity === 'string' || identity instanceof Uint8Array ? identityOf(identity) : identity
  return { offset: modulo(offset, size), skip: modulo(skip, size - 1) + 1 }
}

/** Orders identities by address, then port: the same on every node. */
export const byIdentity = (a: Identity, b: Identity): number =>
  a.order[0] - b.order[0] || a.order[1] - b.order[1] || a.order[2] - b.order[2]
