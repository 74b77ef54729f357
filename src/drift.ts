/** What was changed at run time relative to a configuration, backend by backend; and the same put onto another. Pure. */
import { newBackend } from './config/backend-change.js'
import { differing } from './differing.js'
import { identitiesOf } from './identities.js'
import { type Backend, backendIdentity, type Config, type Service } from './model.js'

interface Named {
  /** The service's identity. */
  readonly service: string
  /** The backend's identity. */
  readonly identity: string
  /** "web/b2", for people. */
  readonly name: string
}

export type DriftEntry =
  | (Named & { readonly kind: 'add'; readonly backend: Backend })
  | (Named & {
      readonly kind: 'set'
      readonly change: Partial<Pick<Backend, 'weight' | 'ringWeight' | 'mac'>>
    })
  | (Named & { readonly kind: 'remove' })

const setOf = (before: Backend, after: Backend) => ({
  ...(before.weight === after.weight ? {} : { weight: after.weight }),
  ...(before.ringWeight === after.ringWeight || after.ringWeight === undefined
    ? {}
    : { ringWeight: after.ringWeight }),
  ...(before.mac === after.mac ? {} : { mac: after.mac }),
})

/** What only the file can give a backend: another is another's, added under its identity. */
const isSameWay = (a: Backend, b: Backend): boolean =>
  JSON.stringify(a.forward) === JSON.stringify(b.forward) && a.tunnelSource === b.tunnelSource

/** @param config has the services of `base`; their backends may differ */
export const driftOf = (base: Config, config: Config): DriftEntry[] => {
  const present = new Map(config.services.map(service => [identitiesOf(service).service, service]))
  const entries: DriftEntry[] = []
  for (const before of base.services) {
    const { service } = identitiesOf(before)
    const after = present.get(service)
    if (!after || after === before) continue
    const { before: were, after: are } = differing(before.backends, after.backends)
    const was = new Map(were.map(backend => [backendIdentity(before, backend), backend]))
    const is = new Map(are.map(backend => [backendIdentity(after, backend), backend]))
    for (const [identity, backend] of was)
      if (!is.has(identity))
        entries.push({ service, identity, name: `${before.name}/${backend.name}`, kind: 'remove' })
    for (const [identity, backend] of is) {
      const before = was.get(identity)
      const name = `${after.name}/${backend.name}`
      if (before === backend) continue
      const isOther = before !== undefined && !isSameWay(before, backend)
      if (isOther) entries.push({ service, identity, name, kind: 'remove' })
      if (!before || isOther) entries.push({ service, identity, name, kind: 'add', backend })
      else {
        const change = setOf(before, backend)
        if (Object.keys(change).length > 0) entries.push({ service, identity, name, kind: 'set', change })
      }
    }
  }
  return entries
}

/** A service's backends while they change. */
interface Draft {
  readonly service: Service
  readonly backends: Map<string, Backend>
  readonly names: Set<string>
  isChanged: boolean
}

const draftOf = (service: Service): Draft => ({
  service,
  backends: new Map(identitiesOf(service).byIdentity),
  names: new Set(service.backends.map(({ name }) => name)),
  isChanged: false,
})

const sameBackend = (a: Backend, b: Backend): boolean =>
  a.name === b.name && a.weight === b.weight && a.mac === b.mac && isSameWay(a, b)

/** @returns why that cannot be added; null: it has been */
const add = (
  { service, backends, names }: Draft,
  { identity, backend }: DriftEntry & { kind: 'add' },
): string | null => {
  const present = backends.get(identity)
  if (present) return sameBackend(present, backend) ? null : 'the configuration has that backend itself'
  if (names.has(backend.name)) return 'its name is that of another backend'
  if (backends.size >= service.ringSize) return `the ring has ${service.ringSize} slots only`
  try {
    const { ringWeight } = backend
    const added = newBackend({ ...service, backends: [] }, backend)
    backends.set(identity, ringWeight === undefined ? added : { ...added, ringWeight })
    names.add(added.name)
    return null
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** Makes one change; who has it already stays as it is. @returns why it cannot be made */
const change = (draft: Draft, entry: DriftEntry): string | null => {
  const { backends, names } = draft
  const present = backends.get(entry.identity)
  draft.isChanged = true
  if (entry.kind === 'add') return add(draft, entry)
  if (entry.kind === 'set') {
    if (!present) return `the configuration has no backend ${entry.identity} there`
    backends.set(entry.identity, { ...present, ...entry.change })
  } else if (present) {
    backends.delete(entry.identity)
    names.delete(present.name)
  }
  return null
}

/** @returns the configuration with the entries that still apply, and a warning for each that does not */
export const withDrift = (
  base: Config,
  entries: readonly DriftEntry[],
): { readonly config: Config; readonly warnings: readonly string[] } => {
  const drafts = new Map(base.services.map(service => [identitiesOf(service).service, draftOf(service)]))
  const warnings: string[] = []
  for (const entry of entries) {
    const draft = drafts.get(entry.service)
    const broken = draft ? change(draft, entry) : `the configuration has no service ${entry.service}`
    if (broken !== null) warnings.push(`the change of ${entry.name} no longer applies: ${broken}`)
  }
  if (![...drafts.values()].some(({ isChanged }) => isChanged)) return { config: base, warnings }
  const services = [...drafts.values()].map(({ service, backends, isChanged }) =>
    isChanged ? { ...service, backends: [...backends.values()] } : service,
  )
  return { config: { ...base, services }, warnings }
}
