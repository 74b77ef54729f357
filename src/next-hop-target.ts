/** Whom a next hop is looked for. */
export interface Target {
  readonly address: string
  readonly mac: string | null
  /** It may be behind a gateway; default: it must be on the link, as direct routing demands. */
  readonly isTunnelled?: boolean
  /** In a tunnel: no path is believed to take shorter packets, unless the way out does, in bytes of the outer one. */
  readonly leastMtu?: number
}
