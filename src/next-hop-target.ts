/** Whom a next hop is looked for. */
export interface Target {
  readonly address: string
  readonly mac: string | null
  /** It may be behind a gateway; default: it must be on the link, as direct routing demands. */
  readonly isTunnelled?: boolean
}
