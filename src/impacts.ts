/** What another configuration would do to the flows of what runs. */
import type { Impact } from './control/protocol.js'
import { addTraffic } from './dataplane/counters.js'
import type { Tables } from './dataplane/tables.js'
import { backendKey, keyOf } from './identities.js'
import { createPacketMinute } from './impact-packets.js'
import { breakingServices, previewImpact } from './impact-preview.js'
import type { Log } from './log.js'
import { type Backend, type Config, type Service, serviceIdentity } from './model.js'
import { createRingBuilder } from './ring-builder.js'
import { createRings, type Rings } from './rings.js'
import type { Running } from './running.js'
import { type Standing, takers } from './standing.js'

const SAMPLE_MS = 10_000

export interface ImpactsOptions {
  readonly running: ReadonlyMap<string, Running>
  readonly tables: Pick<Tables, 'counts' | 'flows' | 'tracking'>
  /** How a backend would stand without any order: none outlives an apply. */
  readonly standingUnordered: (service: Service, backend: Backend) => Standing
  /** Whether a configuration keys the flow hash otherwise. */
  readonly isReseeded: (wanted: Config) => boolean
  /** Milliseconds, monotonic. */
  readonly now: () => number
  /** The counters have been sampled. */
  readonly onSample?: (counts: Awaited<ReturnType<Tables['counts']>>) => void
  readonly log: Log
}

export interface Impacts {
  /** The services whose untracked flows a configuration would break. */
  breaks(wanted: Config): readonly { readonly name: string; readonly reason: string }[]
  impact(wanted: Config): Promise<readonly Impact[]>
  /** Now and then: the counters are sampled. */
  tick(): void
}

export const createImpacts = (options: ImpactsOptions): Impacts => {
  const { running, tables, standingUnordered, isReseeded, now, log } = options
  const minute = createPacketMinute(now)
  let preview: Rings | null = null
  let sampledMs = Number.NEGATIVE_INFINITY

  const sample = async (): Promise<void> => {
    const counts = await tables.counts()
    const packets = new Map<string, number>()
    for (const [service, { backends }] of counts)
      for (const [identity, { tx, redirect }] of backends)
        packets.set(keyOf(service, identity), Number(addTraffic(tx, redirect).packets))
    minute.add(packets)
    options.onSample?.(counts)
  }

  const trafficOf = (service: string, identity: string) => {
    const flows = tables.flows(service, identity)
    const size = running.get(service)?.owners.length
    return {
      packets: minute.packets(keyOf(service, identity)),
      flows: flows !== null && tables.tracking(service).tracked === size ? flows.live : null,
    }
  }

  /** Who is new counts as up. */
  const takersOf = (service: Service): boolean[] => {
    const known = new Set(
      running.get(serviceIdentity(service))?.service.backends.map(backend => backendKey(service, backend)),
    )
    return takers(
      service.backends.map(backend => {
        const standing = standingUnordered(service, backend)
        return known.has(backendKey(service, backend)) ? standing : { ...standing, takes: backend.weight > 0 }
      }),
    )
  }

  return {
    breaks: wanted => breakingServices({ running, wanted, isReseeded: isReseeded(wanted) }),
    impact: async wanted => {
      await sample()
      preview ??= createRings(createRingBuilder())
      const rings = preview
      return previewImpact({ running, wanted, isReseeded: isReseeded(wanted), rings, takersOf, trafficOf })
    },
    tick: () => {
      if (now() - sampledMs < SAMPLE_MS) return
      sampledMs = now()
      sample().catch((error: unknown) =>
        log.debug({ event: 'sample.failed', error: String(error) }, 'no sample'),
      )
    },
  }
}
