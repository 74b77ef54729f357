/** Compares what runs with another configuration, service by service, without touching what runs. */
import type { Impact } from './control/protocol.js'
import { breakingChange, impactOf, type OwnedRing, type Traffic } from './impact.js'
import { backendIdentity, type Config, type Service, serviceIdentity } from './model.js'
import type { Rings } from './rings.js'

export interface RunningRing {
  readonly service: Service
  readonly owners: Int32Array
  readonly takes: readonly boolean[]
}

export interface PreviewOptions {
  /** By service identity. */
  readonly running: ReadonlyMap<string, RunningRing>
  readonly wanted: Config
  readonly isReseeded: boolean
  /** Rings of its own: those that run are kept as they are. */
  readonly rings: Rings
  /** Who would own slots of a service under the configuration. */
  readonly takersOf: (service: Service) => readonly boolean[]
  readonly trafficOf: (service: string, identity: string) => Traffic
}

const ringOf = (service: Service, owners: Int32Array): OwnedRing => ({
  identities: service.backends.map(backend => backendIdentity(service, backend)),
  owners,
})

const isSame = (a: readonly boolean[], b: readonly boolean[]): boolean =>
  a.length === b.length && a.every((one, i) => one === b[i])

/** The services whose flows a configuration would break; each with the reason. */
export const breakingServices = ({
  running,
  wanted,
  isReseeded,
}: Pick<PreviewOptions, 'running' | 'wanted' | 'isReseeded'>): { name: string; reason: string }[] =>
  wanted.services.flatMap(after => {
    const before = running.get(serviceIdentity(after))?.service
    const hasFlows = before !== undefined && before.backends.length > 0
    const reason = hasFlows ? breakingChange(before, after, isReseeded) : null
    return reason === null ? [] : [{ name: after.name, reason }]
  })

/** Of the services whose slots would change their owners. */
export const previewImpact = async (options: PreviewOptions): Promise<Impact[]> => {
  const { running, wanted, isReseeded, rings, takersOf, trafficOf } = options
  const impact: Impact[] = []
  const still = new Set(wanted.services.map(serviceIdentity))
  for (const after of wanted.services) {
    const identity = serviceIdentity(after)
    const before = running.get(identity)
    if (!before || before.service.backends.length === 0) continue
    const takes = takersOf(after)
    const breaks = breakingChange(before.service, after, isReseeded)
    if (breaks === null && before.service === after && isSame(takes, before.takes)) continue
    const owners = await rings.owners(after, takes)
    rings.forget(identity)
    const one = impactOf(
      after,
      ringOf(before.service, before.owners),
      ringOf(after, owners),
      breaks,
      backend => trafficOf(identity, backend),
    )
    if (one.slotsMoved > 0) impact.push(one)
  }
  for (const [identity, { service, owners }] of running)
    if (!still.has(identity) && service.backends.length > 0)
      impact.push({
        ...impactOf(service, ringOf(service, owners), ringOf(service, owners), 'removed', backend =>
          trafficOf(identity, backend),
        ),
        breaks: false,
        reason: "the service goes: its packets are the host's from then on",
      })
  return impact
}
