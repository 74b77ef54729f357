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

interface Named {
  readonly service: string
  readonly identity: string
  readonly key: string
}

const known = new WeakMap<Service, Identities>()
/** A backend outlives most changes of its service: its texts are made once. */
const named = new WeakMap<Backend, Named>()

/** Names a backend among all: its service's identity, then its own. */
export const keyOf = (service: string, identity: string): string => `${service} ${identity}`

/** What keyOf() was made of. */
export const partsOf = (key: string): [service: string, identity: string] => {
  const end = key.indexOf(' ')
  return [key.slice(0, end), key.slice(end + 1)]
}

const nameOf = (own: string, service: Service, backend: Backend): Named => {
  const before = named.get(backend)
  if (before?.service === own) return before
  const identity = backendIdentity(service, backend)
  const name = { service: own, identity, key: keyOf(own, identity) }
  named.set(backend, name)
  return name
}

export const identitiesOf = (service: Service): Identities => {
  const found = known.get(service)
  if (found) return found
  const own = serviceIdentity(service)
  const names = service.backends.map(backend => nameOf(own, service, backend))
  let byIdentity: ReadonlyMap<string, Backend> | null = null
  const made: Identities = {
    service: own,
    backends: names.map(({ identity }) => identity),
    keys: names.map(({ key }) => key),
    get byIdentity() {
      byIdentity ??= new Map(service.backends.map((backend, i) => [names[i]!.identity, backend]))
      return byIdentity
    },
  }
  known.set(service, made)
  return made
}

/** keyOf of a backend, also of one that is not configured. */
export const backendKey = (service: Service, backend: Backend): string =>
  nameOf(identitiesOf(service).service, service, backend).key
