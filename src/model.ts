/** The domain: what a checked configuration consists of. Values only; built by config.ts, changed by nobody. */

export type Protocol = 'tcp' | 'udp'
/** How packets reach a backend: as they are, on the link; in a tunnel; or with other addresses and ports. */
export type Forward = { readonly mode: 'dr' } | TranslatedForward | TunnelForward
/** `nat`: the destination becomes the backend. `fullnat`: and the source a local address and port. */
export type TranslatedForward = { readonly mode: 'nat' | 'fullnat' }
export type TunnelForward =
  | { readonly mode: 'ipip' }
  /** RFC 2784; `key`: RFC 2890, null: the header has none. */
  | { readonly mode: 'gre'; readonly key: number | null }
  /** `port`: the receiver's UDP port. `variant` 1 has no GUE header: the inner packet is right behind the UDP header. */
  | { readonly mode: 'gue'; readonly port: number; readonly variant: 0 | 1 }
/** Of GUE, as IANA has it. */
export const DEFAULT_GUE_PORT = 6080
export type ForwardMode = Forward['mode']
export type TunnelMode = TunnelForward['mode']
/** What becomes of echo requests to a VIP. */
export type Ping = 'answer' | 'pass' | 'drop'
export type HashPart = 'source' | 'source-port' | 'destination' | 'destination-port'
/**
 * What the operator wants of a backend. `draining`: its flows stay, no new one comes; `disabled`: out at once; `leaving`:
 * out of the configuration, kept until its flows have gone.
 */
export type AdminState = 'enabled' | 'draining' | 'disabled' | 'leaving'
export type HealthState = 'unknown' | 'up' | 'down'

export interface HealthCheck {
  readonly type: 'tcp' | 'http'
  /** null: the backend's own port, else the service's. */
  readonly port: number | null
  readonly intervalMs: number
  readonly timeoutMs: number
  /** Successes in a row until up, failures in a row until down. */
  readonly rise: number
  readonly fall: number
  readonly initiallyUp: boolean
  /** http only: the request's path and Host header (null: the VIP), and the status codes that pass, both ends included. */
  readonly path: string
  readonly host: string | null
  readonly expect: readonly { readonly from: number; readonly to: number }[]
}

export interface Backend {
  /** Its label within the service; by default its address (with `:port` where it has one). */
  readonly name: string
  /** Canonical text form, IPv4 or IPv6. */
  readonly address: string
  /** null: the service's port. */
  readonly port: number | null
  /** 0..1000; 0 = drained. */
  readonly weight: number
  /** Its weight in the full ring, where that is not `weight`: set to 0 at run time it keeps its place. */
  readonly ringWeight?: number
  /** A static next hop, "02:00:00:00:00:0c". */
  readonly mac: string | null
  /** Its own; absent: the service's. */
  readonly forward?: Forward
  /** Its own: "10.0.0.1" or "10.9.0.0/16", of its address's family; absent: the service's. */
  readonly tunnelSource?: string
}

export interface PortRange {
  readonly first: number
  readonly last: number
}

/** By TCP state, and of UDP: how long a connection is kept without a packet. Established, and UDP: the idle times. */
export interface ConnectionTimeouts {
  readonly synSentMs: number
  readonly synReceivedMs: number
  readonly finWaitMs: number
  readonly closeWaitMs: number
  readonly lastAckMs: number
  readonly timeWaitMs: number
  readonly closeMs: number
  /** A client's single packet. */
  readonly udpOnceMs: number
}

/** Those of Linux's own TCP tracking (IPVS). */
export const DEFAULT_TIMEOUTS: ConnectionTimeouts = {
  synSentMs: 120_000,
  synReceivedMs: 60_000,
  finWaitMs: 120_000,
  closeWaitMs: 60_000,
  lastAckMs: 30_000,
  timeWaitMs: 120_000,
  closeMs: 10_000,
  udpOnceMs: 30_000,
}

/** Of a service with backends that are translated to. */
export interface Translation {
  /** Where FULLNAT's connections come from; in the order of the file, prefixes in full. Without FULLNAT: none. */
  readonly localAddresses: readonly string[]
  readonly localPorts: PortRange
  /** FULLNAT over TCP: backends are told the client's address by TCP option 254. */
  readonly toa: boolean
  readonly timeouts: ConnectionTimeouts
}

/** Whose own connections leave from local addresses. */
export interface Snat {
  /** "10.2.0.0/24" */
  readonly prefixes: readonly string[]
  readonly localAddresses: readonly string[]
  readonly localPorts: PortRange
}

export const DEFAULT_IDLE_TIME_MS = 900_000
export const DEFAULT_UDP_IDLE_TIME_MS = 60_000

export interface Service {
  readonly name: string
  readonly vip: string
  /** 0: every port. */
  readonly port: number
  readonly protocol: Protocol
  readonly forward: Forward
  /** Outer source addresses, or prefixes of them: one of a family at most. Of a family without one: the node's own. */
  readonly tunnelSource: readonly string[]
  /** `clamp`: a SYN's MSS option is lowered to what the backend's path takes. */
  readonly mss: 'keep' | 'clamp'
  /** The same in all services of a VIP. */
  readonly ping: Ping
  readonly scheduler: 'maglev'
  readonly ringSize: number
  readonly hash: readonly HashPart[]
  readonly noBackend: 'reject' | 'drop'
  readonly tracking: 'on-change' | 'always' | 'never'
  readonly idleTimeMs: number
  readonly udpIdleTimeMs: number
  /** How long a backend that is taken out of the configuration may keep its flows. */
  readonly leaveDeadlineMs: number
  /** `drained`: healthy backends that are drained take new flows when nobody else can. */
  readonly lastResort: 'drained' | 'none'
  readonly health: HealthCheck | null
  /** Absent: no backend is translated to. */
  readonly translation?: Translation
  /** In the order of the file, which has no effect on the ring. */
  readonly backends: readonly Backend[]
}

export interface Limits {
  readonly services: number
  readonly backends: number
  readonly slots: number
  readonly flows: number
  /** Connections of NAT backends whose replies do not tell their service; absent: DEFAULT_NAT_FLOWS. */
  readonly natFlows?: number
}

export const DEFAULT_NAT_FLOWS = 262144

/** Where something listens. */
export interface Listen {
  /** An IP address, a name, or "" for every address. */
  readonly address: string
  readonly port: number
}

export interface Config {
  readonly interfaces: readonly string[]
  readonly xdp: 'auto' | 'native' | 'generic'
  /** 32 hex digits; null: the instance's own. */
  readonly seed: string | null
  readonly limits: Limits
  readonly services: readonly Service[]
  /** Absent: nobody's. */
  readonly snat?: Snat
  /** What local addresses were written as, where that is a prefix: "10.1.0.0/28". Absent: nowhere. */
  readonly localPrefixes?: readonly string[]
  /** Where the metrics are served; null: nowhere. */
  readonly http: { readonly listen: Listen } | null
}

/** How packets reach a backend: by its own word, else its service's. */
export const forwardOf = (service: Pick<Service, 'forward'>, backend: Pick<Backend, 'forward'>): Forward =>
  backend.forward ?? service.forward

export const isTunnel = (forward: Forward): forward is TunnelForward => isTunnelMode(forward.mode)
export const isTunnelMode = (mode: ForwardMode): mode is TunnelMode =>
  mode === 'ipip' || mode === 'gre' || mode === 'gue'
/** Whether packets get other addresses, and may get another port. */
export const isTranslated = (mode: ForwardMode): mode is TranslatedForward['mode'] =>
  mode === 'nat' || mode === 'fullnat'

/** "gre, key 7"; what is the default is left out. */
export const forwardText = (forward: Forward): string => {
  switch (forward.mode) {
    case 'gre':
      return forward.key === null ? 'gre' : `gre, key ${forward.key}`
    case 'gue': {
      const port = forward.port === DEFAULT_GUE_PORT ? '' : `, port ${forward.port}`
      return `gue${port}${forward.variant === 0 ? '' : `, variant ${forward.variant}`}`
    }
    default:
      return forward.mode
  }
}

/** "127.0.0.1:9464", "[::1]:9464", ":9464". */
export const listenText = ({ address, port }: Listen): string =>
  `${address.includes(':') ? `[${address}]` : address}:${port}`

/** What makes two backends of one service the same: address and port. Also what its place in the ring follows from. */
export const backendIdentity = (
  service: Pick<Service, 'port'>,
  backend: Pick<Backend, 'address' | 'port'>,
): string =>
  `${backend.address.includes(':') ? `[${backend.address}]` : backend.address}:${backend.port ?? service.port}`

/** Its weight in the full ring. */
export const ringWeightOf = ({ weight, ringWeight }: Backend): number => ringWeight ?? Math.max(1, weight)

/** A backend's claim on its service's ring: weight 0 takes no slots, but holds its place with `ringWeight`. */
export const claimOf = (service: Pick<Service, 'port'>, backend: Backend) => ({
  identity: backendIdentity(service, backend),
  weight: backend.weight,
  ringWeight: ringWeightOf(backend),
})

/** What makes two services the same: VIP, port and protocol. */
export const serviceIdentity = (service: Pick<Service, 'vip' | 'port' | 'protocol'>): string =>
  `${service.vip.includes(':') ? `[${service.vip}]` : service.vip}:${service.port}/${service.protocol}`
