/** Whom a next hop is looked for. */
export interface Target {
  readonly address: string
  readonly mac: string | null
  /** It may be behind a gateway; default: it must be on the link, as direct routing demands. */
  readonly isTunnelled?: boolean
}

const tunnelled = new WeakMap<object, Target>()

/** The same object for the same backend: what is found out of a target is kept by it. */
export const targetOf = (backend: Target, isTunnelled: boolean): Target => {
  if (!isTunnelled) return backend
  const known = tunnelled.get(backend)
  if (known) return known
  const target: Target = { address: backend.address, mac: backend.mac, isTunnelled }
  tunnelled.set(backend, target)
  return target
}
