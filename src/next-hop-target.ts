/** Whom a next hop is looked for. */
export interface Target {
  readonly address: string
  readonly mac: string | null
  /** In a tunnel; it may be behind a gateway. */
  readonly isTunnelled?: boolean
  /** By its own address, which packets are translated to: it may be behind a gateway. Neither: it must be on the link. */
  readonly isRouted?: boolean
  /** No path is believed to take shorter packets, unless the way out does, in bytes of the packet as it leaves. */
  readonly leastMtu?: number
  /** FULLNAT: packets come to it from one of these; those of its family count. */
  readonly localAddresses?: readonly string[]
}
