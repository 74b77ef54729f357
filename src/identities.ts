/** The identities of a service and its backends, made once for each service as it is configured. */
import { type Backend, backendIdentity, type Service, serviceIdentity } from './model.js'

export interface Identities {
  /** The service's own. */
  readonly service: string
  /** Of its backends, in their order. */
  readonly backends: readonly string[]
  /** backendKey of each. */
  readonly keys: readonly string[]
  readonly byIdentity: ReadonlyMap<string, Backend>
}

const known = new WeakMap<Service, Identities>()

/** Names a backend among all: its service's identity, then its own. */
export const keyOf = (service: string, identity: string): string => `${service} ${identity}`

export const identitiesOf = (service: Service): Identities => {
  const found = known.get(service)
  if (found) return found
  const own = serviceIdentity(service)
  const backends = service.backends.map(backend => backendIdentity(service, backend))
  const made = {
    service: own,
    backends,
    keys: backends.map(identity => keyOf(own, identity)),
    byIdentity: new Map(service.backends.map((backend, i) => [backends[i]!, backend])),
  }
  known.set(service, made)
  return made
}

/** keyOf of a backend, also of one that is not configured. */
export const backendKey = (service: Service, backend: Backend): string =>
  keyOf(identitiesOf(service).service, backendIdentity(service, backend))
