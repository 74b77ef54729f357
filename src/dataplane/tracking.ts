/** Tracked slots as time passes: the clockwork that lets them go, and what the sweeps of the flow cache have found. */
import type { Dataplane } from './dataplane.js'
import type { Held, HeldService } from './held.js'
import { idleMs, isTracking } from './service-rules.js'
import { inSlices } from './slices.js'
import { createSlotSet } from './slot-set.js'
import type { RingSlots, StateCounts } from './slots.js'
import type { SweepRequest, SweepResult } from './sweep.js'

export interface TrackingState extends StateCounts {
  readonly tracked: number
  /** Slots that the last change of the ring wrote. */
  readonly written: number
}

export interface LiveFlows {
  /** Entries with this backend, by the last sweep. */
  readonly live: number
  /** False while a slot in grace or learning still has it as home: "at least". */
  readonly isExact: boolean
  /** When the last whole sweep began; -Infinity before the first. */
  readonly sweepBeganMs: number
}

export interface Tracking {
  /** Once a second: slots whose time has come move on. While one is under way another does nothing. */
  tick(): Promise<void>
  /** One sweep of the flow cache; resolves when its findings are in effect. */
  sweep(): Promise<void>
  /** null: the service tracks nothing. */
  flows(service: string, backend: string): LiveFlows | null
  tracking(service: string): TrackingState
}

export interface TrackingOptions {
  /** Reading of the flow clock. */
  readonly flowClock?: () => number
  /** Sweeps the flow cache of a data plane; without it nothing is swept. */
  readonly sweep?: (dataplane: Dataplane, request: SweepRequest) => Promise<SweepResult>
}

export const createTracking = (held: Held, options: TrackingOptions): Tracking => {
  const { dataplane, services, backends, now } = held
  let lastSweep: { readonly beganMs: number; readonly flows: Uint32Array } = {
    beganMs: Number.NEGATIVE_INFINITY,
    flows: new Uint32Array(0),
  }

  const sweepRequest = (): SweepRequest => {
    const all = [...services.values()].filter(({ entry }) => entry !== null)
    const serviceOf = new Int32Array(dataplane.shape.backends).fill(-1)
    all.forEach((at, index) => {
      for (const id of backends.ofService(at.id).values()) serviceOf[id] = index
    })
    return {
      now: options.flowClock?.() ?? 0,
      services: all.map(({ id, entry, slots: { base, size } }) => ({ id, base, size, idle: entry!.idle })),
      serviceOf,
    }
  }

  /** Whether a flow of a slot has found no place; the mark is cleared. */
  const pressure = (): ((slot: number) => boolean) => {
    const marks = new Uint8Array(dataplane.memory('pressure'))
    return slot => {
      if (marks[slot] !== 1) return false
      marks[slot] = 0
      return true
    }
  }

  const isHeld = (at: HeldService, slots: RingSlots): boolean => {
    if (held.isMoving) return false
    for (const one of services.values()) if (one === at) return at.slots === slots
    return false
  }

  let isTicking = false

  return {
    tick: async () => {
      if (isTicking || held.isMoving) return
      isTicking = true
      try {
        const waiting = [...services.values()].filter(
          ({ slots, wanted }) => wanted && slots.isDue(idleMs(wanted.service)),
        )
        await inSlices(waiting, isHeld, ({ slots, wanted }, slice) =>
          slots.tick(slice, idleMs(wanted!.service), wanted!.service.tracking, pressure()),
        )
      } finally {
        isTicking = false
      }
    },
    sweep: async () => {
      if (!dataplane.shape.tracking || !options.sweep || held.isMoving) return
      const beganMs = now()
      const swept = dataplane.memory('flow_cache')
      const isGone = (): boolean => held.isMoving || swept !== dataplane.memory('flow_cache')
      const found = await options.sweep(dataplane, sweepRequest()).catch((error: unknown) => {
        if (isGone()) return null // its maps went while it was under way
        throw error
      })
      if (found === null || isGone()) return
      const { flows, exceptions } = found
      const inUse = createSlotSet(exceptions)
      const tracked = [...services.values()].filter(({ slots }) => slots.isTracked())
      await inSlices(tracked, isHeld, ({ slots, wanted }, slice) =>
        slots.swept(slice, beganMs, inUse, pressure(), wanted?.service.tracking ?? 'on-change'),
      )
      backends.swept(beganMs, flows)
      lastSweep = { beganMs, flows }
    },
    flows: (service, backend) => {
      const at = services.get(service)
      const id = at && backends.idOf(at.id, backend)
      if (!at?.wanted || id === undefined || !isTracking(at.wanted.service)) return null
      return {
        live: lastSweep.flows[id] ?? 0,
        isExact: !at.slots.isHome(id),
        sweepBeganMs: lastSweep.beganMs,
      }
    },
    tracking: service => {
      const at = services.get(service)
      const counts = at?.slots.counts() ?? { grace: 0, learning: 0, keeping: 0 }
      return {
        ...counts,
        tracked: counts.grace + counts.learning + counts.keeping,
        written: at?.written ?? 0,
      }
    },
  }
}
