/** What client.ts is told and what it says. */
export interface ClientOptions {
  readonly host: string
  readonly port: number
  /** Connections that ask every `steadyMs`, and those that ask every `restingMs`. */
  readonly steady: number
  readonly resting: number
  readonly steadyMs: number
  readonly restingMs: number
  /** UDP flows, half of each kind. */
  readonly datagrams: number
}

/** Times in milliseconds since the epoch. */
export type Said =
  | {
      readonly kind: 'open'
      readonly id: number
      readonly protocol: 'tcp' | 'udp'
      /** The client's. */
      readonly port: number
      readonly backend: string
      readonly at: number
    }
  | Over
  | { readonly kind: 'unopened'; readonly id: number; readonly protocol: 'tcp' | 'udp'; readonly why: string }
  | { readonly kind: 'end'; readonly asked: number; readonly answered: number }

export interface Over {
  readonly kind: 'over'
  readonly id: number
  readonly protocol: 'tcp' | 'udp'
  readonly port: number
  readonly backend: string
  readonly why: string
  /** Who answered instead. */
  readonly to: string | null
  /** The last answer from where it began. */
  readonly okAt: number
  readonly at: number
}
