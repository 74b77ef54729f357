/** The domain: what a checked configuration consists of. Values only; built by config.ts, changed by nobody. */

export type Protocol = 'tcp' | 'udp'
export type Forward = 'dr'
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
}

export interface Service {
  readonly name: string
  readonly vip: string
  /** 0: every port. */
  readonly port: number
  readonly protocol: Protocol
  readonly forward: Forward
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
  /** In the order of the file, which has no effect on the ring. */
  readonly backends: readonly Backend[]
}

export interface Limits {
  readonly services: number
  readonly backends: number
  readonly slots: number
  readonly flows: number
}

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
  /** Where the metrics are served; null: nowhere. */
  readonly http: { readonly listen: Listen } | null
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
