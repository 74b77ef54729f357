/** What `status`, `service` and `backend` answer about one backend or service. Pure. */
import { addressText, macText } from './address.js'
import { type Order, type Progress, remainingMs } from './admin.js'
import type {
  BackendRow,
  Count,
  DrainView,
  ServiceRow,
  TranslationView,
  TunnelView,
} from './control/protocol.js'
import { addCounts, addTraffic, type BackendCount } from './dataplane/counters.js'
import { innerMtu, overheadOf } from './dataplane/encapsulation.js'
import type { LiveFlows, ServiceCounts, TrackingState } from './dataplane/tables.js'
import {
  type AdminState,
  type Backend,
  type Forward,
  forwardOf,
  isTranslated,
  isTunnel,
  type Service,
} from './model.js'
import type { Resolution } from './next-hop.js'
import { tunnelSourceOf } from './reach.js'
import type { Standing } from './standing.js'

export interface BackendFacts {
  readonly service: Service
  readonly backend: Backend
  readonly standing: Standing
  readonly state: AdminState
  readonly slots: number
  readonly count: BackendCount
  readonly resolution: Resolution
  /** The name of the interface that its packets leave by. */
  readonly interfaceName: string | null
  /** null: its service tracks nothing. */
  readonly flows: LiveFlows | null
  readonly tracking: TrackingState
  readonly drain: DrainView | null
  /** What its replies lack, though it gets packets; null: nothing that is known. */
  readonly lack: string | null
}

/** @param wall what `nowMs` is by the wall clock */
export const drainView = (
  order: Order,
  progress: Progress,
  nowMs: number,
  deadlineMs: number | null,
  wall: Date,
): DrainView | null => {
  if (order.state === 'disabled') return null
  const left = remainingMs(order, progress, nowMs, deadlineMs)
  return {
    isOut: progress.out !== null,
    deadline: left === null ? null : new Date(wall.getTime() + left).toISOString(),
    remaining: left === null ? null : Math.ceil(left / 1000),
  }
}

/** Nothing is known of flows on untracked slots: where a backend that takes flows owns some, its count is at least one. */
const flowsOf = ({ state, service, slots, flows, tracking }: BackendFacts) => {
  const isUntracked = flows === null || (state === 'enabled' && tracking.tracked === 0)
  if (flows?.areConnections) return { flows: flows.live, flowsAtLeast: false }
  if (isUntracked) return { flows: null, flowsAtLeast: false }
  return { flows: flows.live, flowsAtLeast: !flows.isExact || (slots > 0 && service.tracking !== 'always') }
}

const reasonOf = ({ standing, slots, lack }: BackendFacts): string | null =>
  standing.isLastResort && slots > 0
    ? `${standing.reason}, but nobody else is left`
    : (standing.reason ?? lack)

const repliesOf = ({ mode }: Forward, { replies }: BackendCount): Count | null => {
  if (!isTranslated(mode)) return null
  const { packets, bytes } = addTraffic(replies.tx, replies.redirect)
  return { packets: String(packets), bytes: String(bytes) }
}

const translationView = ({ translation, idleTimeMs, udpIdleTimeMs }: Service): TranslationView | null => {
  if (!translation) return null
  const { localAddresses, localPorts, toa, timeouts } = translation
  return {
    localAddresses,
    localPorts,
    toa: toa && localAddresses.length > 0,
    timeouts: {
      synSent: timeouts.synSentMs / 1000,
      synReceived: timeouts.synReceivedMs / 1000,
      established: idleTimeMs / 1000,
      finWait: timeouts.finWaitMs / 1000,
      closeWait: timeouts.closeWaitMs / 1000,
      lastAck: timeouts.lastAckMs / 1000,
      timeWait: timeouts.timeWaitMs / 1000,
      close: timeouts.closeMs / 1000,
      udp: udpIdleTimeMs / 1000,
      udpOnce: timeouts.udpOnceMs / 1000,
    },
  }
}

const tunnelView = ({ service, backend, resolution }: BackendFacts, forward: Forward): TunnelView | null => {
  if (!isTunnel(forward)) return null
  const found = 'nextHop' in resolution ? resolution : null
  const own = found?.nextHop.source
  return {
    source: tunnelSourceOf(service, backend) ?? (own ? addressText(own) : null),
    key: forward.mode === 'gre' ? forward.key : null,
    port: forward.mode === 'gue' ? forward.port : null,
    variant: forward.mode === 'gue' ? forward.variant : null,
    overhead: overheadOf(forward, backend.address),
    learntMtu: found?.learntMtu ?? null,
  }
}

export const backendRow = (facts: BackendFacts): BackendRow => {
  const { service, backend, count, resolution, interfaceName } = facts
  const total = addTraffic(count.tx, count.redirect)
  const nextHop = 'nextHop' in resolution ? resolution.nextHop : null
  const forward = forwardOf(service, backend)
  return {
    service: service.name,
    backend: backend.name,
    address: backend.address,
    port: backend.port ?? service.port,
    weight: backend.weight,
    forward: forward.mode,
    tunnel: tunnelView(facts, forward),
    mtu: nextHop && innerMtu(nextHop.mtu, forward, backend.address),
    state: facts.state,
    health: facts.standing.health,
    slots: facts.slots,
    ...flowsOf(facts),
    drain: facts.drain,
    packets: String(total.packets),
    bytes: String(total.bytes),
    newFlows: String(count.syns),
    replies: repliesOf(forward, count),
    nextHop: nextHop && { interface: interfaceName ?? String(nextHop.ifindex), mac: macText(nextHop.mac) },
    reason: reasonOf(facts),
  }
}

export const serviceRow = (
  service: Service,
  digest: string,
  { backends: counts, retired, unforwarded, slotsWritten }: ServiceCounts,
  tracking: TrackingState,
  backends: readonly BackendRow[],
): ServiceRow => {
  const counted = [...counts.values()].reduce(addCounts, retired)
  const { grace, learning, keeping, tracked } = tracking
  const total = addTraffic(counted.tx, counted.redirect)
  return {
    service: service.name,
    vip: service.vip,
    port: service.port,
    protocol: service.protocol,
    forward: service.forward.mode,
    scheduler: service.scheduler,
    ringSize: service.ringSize,
    noBackend: service.noBackend,
    mss: service.mss,
    ping: service.ping,
    translation: translationView(service),
    digest,
    trackedSlots: tracked,
    trackedShare: tracked / service.ringSize,
    slotStates: { untracked: service.ringSize - tracked, grace, learning, keeping },
    slotsWritten: tracking.written,
    slotsWrittenInAll: slotsWritten,
    unforwarded: { packets: String(unforwarded.packets), bytes: String(unforwarded.bytes) },
    packets: String(total.packets),
    bytes: String(total.bytes),
    backends,
  }
}
