/**
 * The messages of the control socket (DESIGN: a plain sequence of msgpack values, no prefix).
 *
 *   request   { id, method, params }
 *   answer    { id, result } or { id, error: { code, message, hint } }
 *   push      { event, data }, after a `subscribe`
 */
import { z } from 'zod'
import type { ConfigProblem } from '../config/problem.js'
import { type FlowState, flowStates } from '../flows/states.js'
import type { AdminState, ForwardMode, HealthState } from '../model.js'

export type { ConfigProblem } from '../config/problem.js'
export type { FlowState } from '../flows/states.js'

/** A request longer than this closes the connection. */
export const MAX_REQUEST_BYTES = 1024 * 1024

export type FlowKind = 'fullnat' | 'snat' | 'nat' | 'tracked'

const label = z.string().min(1).max(80)
const weight = z.int().min(0).max(1000)
const mac = z.string().max(17)
const address = z.string().min(2).max(45)
const port = z.int().min(1).max(65535)
/** Seconds. */
const deadline = z
  .number()
  .min(0)
  .max(7 * 86_400)
const none = z.strictObject({}).default({})
/** Rows of one page of flows. */
export const MAX_PAGE_ROWS = 1000
const flowFilter = {
  service: label.optional(),
  backend: label.optional(),
  /** "192.0.2.1", "192.0.2.0/24", "192.0.2.1:4321", "[2001:db8::1]:4321". Tracked flows have no address: none matches. */
  client: z.string().min(2).max(60).optional(),
  state: z.enum(flowStates).optional(),
}
const configText = z.strictObject({ config: z.string().optional() }).default({})

/** The parameters of each method. Everything that arrives is checked against these. */
export const requestParams = {
  status: none,
  'service.list': none,
  'service.show': z.strictObject({ service: label }),
  'backend.list': z.strictObject({ service: label.optional() }).default({}),
  'backend.show': z.strictObject({ service: label, backend: label }),
  'backend.add': z.strictObject({
    service: label,
    backend: label,
    address,
    port: port.optional(),
    weight: weight.optional(),
    mac: mac.optional(),
  }),
  'backend.set': z.strictObject({
    service: label,
    backend: label,
    weight: weight.optional(),
    mac: mac.nullable().optional(),
  }),
  /** Without `now` it leaves: its flows stay until they end, or the service's leave deadline has come. */
  'backend.remove': z.strictObject({ service: label, backend: label, now: z.boolean().optional() }),
  /** `deadline`: seconds from now on, after which it is out; absent: when its flows have gone. */
  'backend.drain': z.strictObject({ service: label, backend: label, deadline: deadline.optional() }),
  'backend.undrain': z.strictObject({ service: label, backend: label }),
  'backend.disable': z.strictObject({ service: label, backend: label }),
  'backend.enable': z.strictObject({ service: label, backend: label }),
  'ring.show': z.strictObject({
    service: label,
    /** Adds `owners`. */
    slots: z.boolean().optional(),
    /** Backends supposed to be down. */
    down: z.array(label).readonly().optional(),
  }),
  /**
   * A page of the flows: from `cursor`, of an answer before, at most `limit` of them. Who asks for page after page gets
   * all, without either side ever holding more than a page.
   */
  'flow.list': z
    .strictObject({
      ...flowFilter,
      cursor: z
        .string()
        .regex(/^[ct]\d{1,10}$/)
        .optional(),
      limit: z.int().min(1).max(MAX_PAGE_ROWS).optional(),
    })
    .default({}),
  'flow.count': z.strictObject(flowFilter).default({}),
  /** Of one, by `id`, or of those that the filter names; without either only with `all`. */
  'flow.drop': z
    .strictObject({ ...flowFilter, id: z.string().max(40).optional(), all: z.boolean().optional() })
    .default({}),
  /** `config`: the text of a configuration file; absent: the daemon reads its own file again. */
  check: configText,
  diff: configText,
  /** `force`: also when it breaks connections that cannot be kept. */
  apply: z.strictObject({ config: z.string().optional(), force: z.boolean().optional() }).default({}),
  /** From here on the connection gets `event` pushes. */
  subscribe: none,
} as const

export type Method = keyof typeof requestParams
export type Params<M extends Method> = z.input<(typeof requestParams)[M]>
export type CheckedParams<M extends Method> = z.output<(typeof requestParams)[M]>

export interface Count {
  /** 64-bit counters are decimal strings. */
  readonly packets: string
  readonly bytes: string
}

/** How far a backend is that drains or leaves. */
export interface DrainView {
  /** Its flows have gone, or its deadline has come: it gets nothing any more. */
  readonly isOut: boolean
  /** When it is out at the latest (RFC 3339), and the seconds until then; null: as long as its flows live. */
  readonly deadline: string | null
  readonly remaining: number | null
}

/** How packets are encapsulated on their way to a backend. */
export interface TunnelView {
  /** The outer source, an address, or a prefix of which the last bits are each flow's own; null: not known. */
  readonly source: string | null
  /** GRE; null: the header has none. */
  readonly key: number | null
  /** GUE: the receiver's UDP port, and the form of the header. */
  readonly port: number | null
  readonly variant: 0 | 1 | null
  /** Bytes that the headers take. */
  readonly overhead: number
  /** What routers have said of the path, in bytes of the outer packet; null: nothing, or no less than the route's MTU. */
  readonly learntMtu: number | null
}

export interface BackendRow extends Count {
  readonly service: string
  readonly backend: string
  readonly address: string
  readonly port: number
  readonly weight: number
  /** "dr", "ipip", "gre", "gue", "nat", "fullnat": its own, or its service's. */
  readonly forward: ForwardMode
  /** null: no tunnel. */
  readonly tunnel: TunnelView | null
  /** The longest packet that goes to it, from the client's IP header on; null: the way to it is not known. */
  readonly mtu: number | null
  readonly state: AdminState
  readonly health: HealthState
  /** Slots of the ring that it owns now. */
  readonly slots: number
  /** Live tracked flows; null where none are tracked. */
  readonly flows: number | null
  /** It has flows that are not tracked, or may have: `flows` is the least it can be. */
  readonly flowsAtLeast: boolean
  /** Of one that drains or leaves; else null. */
  readonly drain: DrainView | null
  /** TCP SYNs. */
  readonly newFlows: string
  /** Its packets that were translated back; null: they do not come back through here. */
  readonly replies: Count | null
  readonly nextHop: { readonly interface: string; readonly mac: string } | null
  /** Why it gets no packets: its last failed check, its unresolved next hop; else null. */
  readonly reason: string | null
}

/** How NAT and FULLNAT translate, durations in seconds. */
export interface TranslationView {
  /** Where FULLNAT's connections come from; NAT: none. */
  readonly localAddresses: readonly string[]
  readonly localPorts: { readonly first: number; readonly last: number }
  /** FULLNAT over TCP: backends are told the client's address. */
  readonly toa: boolean
  /** How long a connection is kept without a packet, by its state. */
  readonly timeouts: {
    readonly synSent: number
    readonly synReceived: number
    readonly established: number
    readonly finWait: number
    readonly closeWait: number
    readonly lastAck: number
    readonly timeWait: number
    readonly close: number
    readonly udp: number
    readonly udpOnce: number
  }
}

/** Connections that a pool has room for. */
export interface PoolStatus {
  /** "10.1.0.100", its first address; NAT's by flow, which have none: "nat". */
  readonly pool: string
  readonly addresses: readonly string[]
  /** Of all addresses together. */
  readonly ports: number
  /** Live connections, by the last sweep. */
  readonly used: number
  readonly opened: string
  readonly reopened: string
  /** New connections for which nothing was free. */
  readonly refused: string
}

export interface ServiceRow extends Count {
  readonly service: string
  readonly vip: string
  readonly port: number
  readonly protocol: string
  readonly forward: string
  readonly scheduler: string
  readonly ringSize: number
  readonly noBackend: string
  /** "clamp": SYNs' MSS options are lowered to what the path takes; "keep". */
  readonly mss: string
  /** What becomes of echo requests to the VIP: "answer", "pass", "drop". */
  readonly ping: string
  /** null: no backend is NAT or FULLNAT. */
  readonly translation: TranslationView | null
  /** Equal on every node with the same configuration and the same backends up. */
  readonly digest: string
  /** Slots that remember flows at the moment: the ring has changed there, or all are tracked. */
  readonly trackedSlots: number
  /** They are so many of all its slots: 0..1. */
  readonly trackedShare: number
  /** Slots by state: grace, learning and keeping are the tracked ones. */
  readonly slotStates: {
    readonly untracked: number
    readonly grace: number
    readonly learning: number
    readonly keeping: number
  }
  /** How many slots its last change wrote, and all changes since the daemon started. */
  readonly slotsWritten: number
  readonly slotsWrittenInAll: number
  /** Its packets that were not forwarded: dropped, answered, left to the host. */
  readonly unforwarded: Count
  readonly backends: readonly BackendRow[]
}

export interface InterfaceStatus {
  readonly name: string
  /** null: not attached, and `reason` says why. */
  readonly mode: 'native' | 'generic' | null
  /** Also why it is generic although native was wanted. */
  readonly reason: string | null
}

export interface Status {
  /** Attached, and every health check has a result. */
  readonly ready: boolean
  readonly pid: number
  readonly version: string
  readonly instance: string
  readonly startedAt: string
  readonly config: { readonly path: string; readonly appliedAt: string; readonly error: string | null }
  readonly interfaces: readonly InterfaceStatus[]
  readonly program: { readonly tag: string }
  /** What was changed at run time and is kept through a restart; `error`: why a restart would lose it. */
  readonly journal: { readonly entries: number; readonly error: string | null } | null
  /** Where metrics are served; `error`: why not there. null: nowhere. */
  readonly http: { readonly listen: string; readonly error: string | null } | null
  /** null: no service tracks flows. */
  readonly flowCache: {
    /** Its size. */
    readonly entries: number
    /** Live entries, by the last sweep. */
    readonly live: number
    /** Flows entered so far. */
    readonly inserted: string
    /** Found no place: new flows that went to their slot's home, packets of old ones, new ones while the home is dead. */
    readonly deferred: string
    readonly refused: string
    readonly unremembered: string
    /** `duration` in seconds; null: none yet. */
    readonly lastSweep: { readonly at: string; readonly duration: number } | null
  } | null
  /** Of FULLNAT, SNAT and NAT by flow. */
  readonly pools: readonly PoolStatus[]
  readonly verdicts: Readonly<Record<string, Count>>
  readonly services: readonly ServiceRow[]
  /** Where something is translated: the ways back to clients, the longest prefix first, in words. */
  readonly clientRoutes?: readonly string[]
  /** Local addresses about which something is to be done; those of a prefix together, by its name. */
  readonly localAddresses?: readonly {
    readonly address: string
    readonly used: boolean
    readonly text: string
  }[]
}

export interface RingView {
  readonly service: string
  readonly size: number
  readonly digest: string
  /** `expected` and `actual` are shares of the ring, 0..1. */
  readonly backends: readonly {
    readonly backend: string
    readonly slots: number
    readonly expected: number
    readonly actual: number
  }[]
  /** With `slots`: the owner's name of each slot, null where there is none. */
  readonly owners?: readonly (string | null)[]
}

/** One flow. */
export interface FlowRow {
  /** For `flow.drop`; null: a tracked flow has none. */
  readonly id: string | null
  readonly kind: FlowKind
  /** null: SNAT's is nobody's. */
  readonly service: string | null
  readonly backend: string | null
  readonly protocol: 'tcp' | 'udp'
  /** Who opened it; SNAT: the host inside. null: the flow cache does not know. */
  readonly client: string | null
  readonly clientPort: number | null
  /** Whom it addressed: the VIP; SNAT: the host outside. */
  readonly server: string | null
  readonly serverPort: number | null
  /** Where it comes from, for the backend: FULLNAT and SNAT. */
  readonly local: string | null
  readonly localPort: number | null
  readonly state: FlowState
  /** Seconds since its last packet, of a tracked flow to 4 s; and seconds after which it is forgotten without one. */
  readonly idle: number
  readonly expires: number
  /** By `flow.drop`, and its ends may not have noticed. */
  readonly dropped: boolean
}

export interface FlowPage {
  readonly flows: readonly FlowRow[]
  /** Where the next page begins; null: this was the last one. */
  readonly cursor: string | null
}

export interface FlowCount {
  readonly total: number
  /** Of these: dropped, and their ends may not have noticed. */
  readonly dropped: number
  readonly kinds: Readonly<Record<FlowKind, number>>
  /** Those that there are. */
  readonly states: Readonly<Partial<Record<FlowState, number>>>
  /** Those that have flows; SNAT's are nobody's. */
  readonly services: readonly {
    readonly service: string
    readonly total: number
    readonly backends: readonly { readonly backend: string; readonly total: number }[]
  }[]
}

export interface FlowDrop {
  /** Connections that were dropped. */
  readonly dropped: number
  /** Tracked flows that are meant too, and cannot be dropped. */
  readonly tracked: number
}

/** One difference between the configuration and what runs. */
export interface Change {
  readonly action: 'add' | 'remove' | 'change'
  readonly kind: 'service' | 'backend' | 'interface' | 'setting'
  /** "web", "web/b2", "eth0" ... */
  readonly name: string
  /** In words: "weight 1 -> 5". */
  readonly detail: string
}

/** A difference that was made at run time. */
export interface Drift extends Change {
  /** `apply` throws it away; else the file says the same. */
  readonly isThrownAway: boolean
}

/** What a change does to the flows of one service. */
export interface Impact {
  readonly service: string
  /** Of how many slots the owner changes; backends not checked yet count as up. */
  readonly slotsMoved: number
  readonly slots: number
  /** 0..1: the share of the service's packets of the last minute that those slots had; null: it had none. */
  readonly packetShare: number | null
  /** Live flows on those slots, where all of them are tracked. */
  readonly flows: number | 'unknown'
  /** Its untracked flows cannot be kept. */
  readonly breaks: boolean
  /** Why, or what else there is to know. */
  readonly reason: string | null
}

export interface DiffResult {
  /** What `apply` would change, from what runs to the file. */
  readonly changes: readonly Change[]
  /** What runs against what was applied last: changed over the socket since then. */
  readonly drift: readonly Drift[]
  /** By service, of those whose ring would change. */
  readonly impact: readonly Impact[]
  /** Connections would break that cannot be kept: `apply` wants `force`. */
  readonly breaks: boolean
  readonly warnings: readonly string[]
}

/** A backend as it is after a change; `warning`: a restart would lose that, and why. */
export type ChangedRow = BackendRow & { readonly warning?: string }

export interface Results {
  status: Status
  'service.list': readonly ServiceRow[]
  'service.show': ServiceRow
  'backend.list': readonly BackendRow[]
  'backend.show': BackendRow
  'backend.add': ChangedRow
  'backend.set': ChangedRow
  'backend.remove': {
    readonly service: string
    readonly backend: string
    /** Its flows stay until they end; false: it is gone. */
    readonly isLeaving: boolean
    readonly warning?: string
  }
  'backend.drain': ChangedRow
  'backend.undrain': ChangedRow
  'backend.disable': ChangedRow
  'backend.enable': ChangedRow
  'ring.show': RingView
  'flow.list': FlowPage
  'flow.count': FlowCount
  'flow.drop': FlowDrop
  check: { readonly ok: true; readonly warnings: readonly string[] }
  diff: DiffResult
  apply: { readonly changes: readonly Change[]; readonly warnings: readonly string[] }
  subscribe: { readonly subscribed: true }
}

/** What `subscribe` pushes: `event` is `${Event['kind']}`. */
export type Event =
  | {
      readonly kind: 'health'
      readonly service: string
      readonly backend: string
      readonly health: HealthState
      readonly reason: string | null
    }
  | {
      readonly kind: 'admin'
      readonly service: string
      readonly backend: string
      readonly state: AdminState
      /** Nothing of it is left; one that was leaving is not listed any more. */
      readonly isOut: boolean
      readonly reason: string | null
    }
  | { readonly kind: 'change'; readonly changes: readonly Change[]; readonly by: string }
  | {
      readonly kind: 'next-hop'
      readonly service: string
      readonly backend: string
      readonly reason: string | null
    }
  | {
      readonly kind: 'interface'
      readonly name: string
      readonly mode: string | null
      readonly reason: string | null
    }

export interface Peer {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

/** What answers the requests: the daemon, or a test. A thrown BalancerError becomes the answer's `error`. */
export type Handlers = {
  readonly [M in Method]: (params: CheckedParams<M>, peer: Peer) => Promise<Results[M]>
}

export interface ErrorBody {
  readonly code: string
  readonly message: string
  readonly hint: string | null
  /** For ERR_CONFIG_INVALID. */
  readonly problems?: readonly ConfigProblem[]
}

/** `id` is null where the request had none that could be read. */
export type Answer =
  | { readonly id: number | string | null; readonly result: unknown }
  | { readonly id: number | string | null; readonly error: ErrorBody }

export interface Push {
  readonly event: Event['kind']
  readonly data: Event
}
