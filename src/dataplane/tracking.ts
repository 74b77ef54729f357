/** Tracked slots as time passes: the clockwork that lets them go, and what the sweeps of the flow cache have found. */
import { type ConnectionRequest, type ConnectionsFound, noConnectionsFound } from './connection-sweep.js'
import type { Dataplane } from './dataplane.js'
import type { Held, HeldService } from './held.js'
import type { MappedName } from './load.js'
import { dropRetired } from './pooling.js'
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
  /** Each of its flows is a connection, and `live` all of them. */
  readonly areConnections?: boolean
}

export interface Tracking {
  /** Once a second: slots whose time has come move on. While one is under way another does nothing. */
  tick(): Promise<void>
  /** One sweep of the flow cache; resolves when its findings are in effect. */
  sweep(): Promise<void>
  /** Live connections by the number of their local address, by the last sweep. */
  connectionsByNumber(): Uint32Array
  /** null: the service tracks nothing. */
  flows(service: string, backend: string): LiveFlows | null
  tracking(service: string): TrackingState
}

export interface TrackingOptions {
  /** Reading of the flow clock. */
  readonly flowClock?: () => number
  /** Sweeps the flow cache of a data plane; without it nothing is swept. */
  readonly sweep?: (dataplane: Dataplane, request: SweepRequest) => Promise<SweepResult>
  /** The same of the connections. */
  readonly sweepConnections?: (dataplane: Dataplane, request: ConnectionRequest) => Promise<ConnectionsFound>
  /** Reading of the connection clock. */
  readonly connectionClock?: () => number
}

export const createTracking = (held: Held, options: TrackingOptions): Tracking => {
  const { dataplane, services, backends, now } = held
  let lastSweep: {
    readonly beganMs: number
    readonly flows: Uint32Array
    readonly connections: ConnectionsFound
  } = {
    beganMs: Number.NEGATIVE_INFINITY,
    flows: new Uint32Array(0),
    connections: noConnectionsFound,
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

  /** null: its maps went meanwhile. */
  const unlessGone = async <T>(name: MappedName, sweep: () => Promise<T>): Promise<T | null> => {
    const swept = dataplane.memory(name)
    const isGone = (): boolean => held.isMoving || swept !== dataplane.memory(name)
    const found = await sweep().catch((error: unknown) => {
      if (isGone()) return null
      throw error
    })
    return isGone() ? null : found
  }

  /** null: it could not be done. */
  const sweepFlowCache = async (beganMs: number): Promise<Uint32Array | null> => {
    const { sweep } = options
    if (!dataplane.shape.tracking || !sweep) return new Uint32Array(dataplane.shape.backends)
    const found = await unlessGone('flow_cache', () => sweep(dataplane, sweepRequest()))
    if (found === null) return null
    const { flows, exceptions } = found
    const inUse = createSlotSet(exceptions)
    const tracked = [...services.values()].filter(({ slots }) => slots.isTracked())
    await inSlices(tracked, isHeld, ({ slots, wanted }, slice) =>
      slots.swept(slice, beganMs, inUse, pressure(), wanted?.service.tracking ?? 'on-change'),
    )
    return flows
  }

  const sweepAllConnections = async (): Promise<ConnectionsFound | null> => {
    const { numbers, backends: ids } = dataplane.shape
    const { sweepConnections, connectionClock } = options
    if (numbers === 0 || !sweepConnections || !connectionClock) return noConnectionsFound
    return unlessGone('connections', () =>
      sweepConnections(dataplane, { now: connectionClock(), ids, numbers }),
    )
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
      if (held.isMoving || (!options.sweep && !options.sweepConnections)) return
      const beganMs = now()
      const flows = await sweepFlowCache(beganMs)
      if (flows === null) return
      const connections = await sweepAllConnections()
      if (connections === null) return
      backends.swept(
        beganMs,
        flows.map((count, id) => count + (connections.byBackend[id] ?? 0)),
      )
      dropRetired(held, connections.byNumber)
      lastSweep = { beganMs, flows, connections }
    },
    connectionsByNumber: () => lastSweep.connections.byNumber,
    flows: (service, backend) => {
      const at = services.get(service)
      const id = at && backends.idOf(at.id, backend)
      if (!at?.wanted || id === undefined) return null
      const sight = { isExact: !at.slots.isHome(id), sweepBeganMs: lastSweep.beganMs }
      if (backends.hasConnections(id))
        return { ...sight, live: lastSweep.connections.byBackend[id] ?? 0, areConnections: true }
      return isTracking(at.wanted.service) ? { ...sight, live: lastSweep.flows[id] ?? 0 } : null
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
