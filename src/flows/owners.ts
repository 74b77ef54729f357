/** Whose a backend id is, in the words of the configuration: also of one that has gone, while flows of its are left. */
import { addressText } from '../address.js'
import { backendLayout, forwardMode } from '../dataplane/layout.js'
import { BalancerError } from '../errors.js'
import { identitiesOf, keyOf } from '../identities.js'
import { backendIdentity, type Protocol, type Service } from '../model.js'
import { strayBackend, type Wanted } from '../wanted.js'

export interface FlowOwner {
  readonly service: string
  /** Id of the service. */
  readonly serviceId: number
  readonly backend: string
  readonly protocol: Protocol
}

export interface OwnersOptions {
  /** Of the map `backends`. */
  readonly backends: ArrayBuffer
  /** A service's identity by its id. */
  readonly serviceOf: (id: number) => string | null
  readonly wanted: Wanted
}

/** By backend id; null: it is nobody's. Looked up once each. */
export const createOwners = ({ backends, serviceOf, wanted }: OwnersOptions) => {
  const known = new Map<number, FlowOwner | null>()
  const services = new Map<number, Service | null>()
  const bytes = new Uint8Array(backends)

  const serviceById = (id: number): Service | null => {
    const before = services.get(id)
    if (before !== undefined) return before
    const identity = serviceOf(id)
    const service = wanted.config.services.find(one => identitiesOf(one).service === identity) ?? null
    services.set(id, service)
    return service
  }

  const find = (id: number): FlowOwner | null => {
    if ((id + 1) * backendLayout.size > bytes.length) return null
    const { mode, service: serviceId, addr, port } = backendLayout.decode(bytes, id * backendLayout.size)
    const service = mode === forwardMode.FORWARD_NONE ? null : serviceById(serviceId)
    if (service === null) return null
    const identity = backendIdentity({ port }, { address: addressText(addr), port })
    const { service: own, byIdentity } = identitiesOf(service)
    const backend =
      byIdentity.get(identity) ??
      wanted.leaving.get(keyOf(own, identity))?.backend ??
      strayBackend(service, identity)
    return { service: service.name, serviceId, backend: backend.name, protocol: service.protocol }
  }

  return (id: number): FlowOwner | null => {
    const before = known.get(id)
    if (before !== undefined) return before
    const owner = find(id)
    known.set(id, owner)
    return owner
  }
}
export type Owners = ReturnType<typeof createOwners>

/** @throws BalancerError `ERR_NOT_FOUND` when the service or the backend named is not there */
export const checkNames = (
  { config, leaving }: Wanted,
  { service, backend }: { readonly service?: string | undefined; readonly backend?: string | undefined },
): void => {
  const meant = config.services.filter(({ name }) => service === undefined || name === service)
  if (service !== undefined && meant.length === 0)
    throw new BalancerError('ERR_NOT_FOUND', `there is no service "${service}"`, {
      hint: `the services are ${config.services.map(({ name }) => name).join(', ') || 'none'}`,
    })
  if (backend === undefined) return
  const identities = new Set(meant.map(one => identitiesOf(one).service))
  const isThere =
    meant.some(({ backends }) => backends.some(({ name }) => name === backend)) ||
    [...leaving.values()].some(one => one.backend.name === backend && identities.has(one.service))
  if (isThere) return
  const where = service === undefined ? 'no service' : `service "${service}"`
  throw new BalancerError(
    'ERR_NOT_FOUND',
    `${where} has ${service === undefined ? 'a' : 'no'} backend "${backend}"`,
    {
      hint: 'linimo backend list shows them',
    },
  )
}
