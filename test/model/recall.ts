/** Rules H1 to H5 and M1 to M8 of docs/affinity.md over one bucket of the flow cache, written from the document alone. */

export interface RecallEntry {
  fingerprint: number
  /** 1 half-open, 2 open, 3 closed. */
  kind: number
  /** Units of the flow clock. */
  seen: number
  id: number
}

export interface RecallBackend {
  readonly service: number
  readonly isDead: boolean
  readonly takesNew: boolean
  readonly idle: number
}

export interface RecallPacket {
  readonly service: number
  /** Of the service: a SYN marks a new flow. */
  readonly synOpens: boolean
  readonly isSyn: boolean
  /** FIN or RST. */
  readonly isClosing: boolean
  readonly fingerprint: number
  readonly now: number
}

export interface RecallSlot {
  readonly state: 'U' | 'G' | 'L' | 'K'
  readonly current: number
  readonly home: number
}

export interface Recalled {
  /** 0: nobody. */
  readonly id: number
  readonly counted: 'inserted' | 'deferred' | 'refused' | 'unremembered' | null
  /** The slot is marked: it goes on learning. */
  readonly isMarked: boolean
}

const UNITS = 2 ** 14
const age = (seen: number, now: number): number => Math.max(0, ((now - seen + 64 + UNITS) % UNITS) - 64)

/** @param bucket eight places; changed as the packet changes it */
export const recall = (
  bucket: (RecallEntry | null)[],
  slot: RecallSlot,
  packet: RecallPacket,
  backendOf: (id: number) => RecallBackend | undefined,
): Recalled => {
  const { state, current, home } = slot
  const { synOpens, isClosing, now } = packet
  const opens = synOpens && packet.isSyn
  const isDead = (id: number): boolean => backendOf(id)?.isDead ?? true
  const takesNew = (id: number): boolean => backendOf(id)?.takesNew ?? false
  const goes = (id: number, counted: Recalled['counted'] = null, isMarked = false): Recalled => ({
    id,
    counted,
    isMarked,
  })
  if (state === 'U') return goes(current)

  const isFree = (entry: RecallEntry | null): boolean =>
    entry === null ||
    (entry.kind === 2
      ? age(entry.seen, now) >
        Math.max(backendOf(packetsOwn(slot))?.idle ?? 0, backendOf(entry.id)?.idle ?? 0)
      : age(entry.seen, now) > 2)
  const at = bucket.findIndex(
    entry =>
      entry !== null &&
      entry.fingerprint === packet.fingerprint &&
      backendOf(entry.id)?.service === packet.service,
  )
  const empty = bucket.indexOf(null)
  let free = empty >= 0 ? empty : bucket.findIndex(isFree)
  const remember = (kind: number, id: number): boolean => {
    if (free < 0 || id === 0) return false
    bucket[free] = { fingerprint: packet.fingerprint, kind, seen: now, id }
    return true
  }

  if (at >= 0) {
    const entry = bucket[at]!
    const { id } = entry
    const isRepeat = age(entry.seen, now) <= 1 || (entry.kind === 1 && takesNew(id))
    if (id === current || (!isDead(id) && (!opens || isRepeat))) {
      entry.seen = now
      if (!synOpens) entry.kind = 2
      else if (opens) entry.kind = entry.kind === 3 ? 1 : entry.kind
      else if (isClosing) entry.kind = 3
      else if (entry.kind === 1) entry.kind = 2
      return goes(id)
    }
    if (synOpens && !opens) return goes(current)
    free = at
    if (state === 'K') bucket[at] = null
  }
  if (state === 'K') return goes(current)
  if (opens) {
    if (state === 'G' && takesNew(home)) return goes(home, remember(1, home) ? 'inserted' : null)
    if (remember(1, current)) return goes(current, 'inserted')
    if (current !== 0 && !isDead(home)) return goes(home, 'deferred')
    return goes(current, current === 0 ? null : 'unremembered')
  }
  if (!isDead(home)) {
    if (synOpens && isClosing) return goes(home)
    return remember(2, home) ? goes(home, 'inserted') : goes(home, 'refused', true)
  }
  if (synOpens) return goes(current)
  if (remember(2, current)) return goes(current, 'inserted')
  return goes(current, current === 0 ? null : 'unremembered')
}

/** The service's own idle time is that of any of its backends. */
const packetsOwn = ({ current, home }: RecallSlot): number => current || home

/**
 * An ICMP error about the flow: where a packet of it would go that neither opens nor closes it, and nothing is stored,
 * counted or marked.
 */
export const recallError = (
  bucket: readonly (RecallEntry | null)[],
  slot: RecallSlot,
  packet: RecallPacket,
  backendOf: (id: number) => RecallBackend | undefined,
): Recalled => {
  const copy = bucket.map(entry => entry && { ...entry })
  const { id } = recall(copy, slot, { ...packet, isSyn: false, isClosing: false }, backendOf)
  return { id, counted: null, isMarked: false }
}
