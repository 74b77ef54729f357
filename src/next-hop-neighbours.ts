/** The kernel's neighbours, and how long what one has said is believed. */
import { addressText } from './address.js'
import type { NetlinkNeighbour } from './native.js'
import { type NeighbourKey, neighbourKeyText } from './next-hop.js'

const NUD_INCOMPLETE = 1
const NUD_FAILED = 32

export interface Neighbours {
  /** What is believed of it. */
  get(key: NeighbourKey): NetlinkNeighbour | undefined
  /** The kernel knows no MAC address of it at the moment. */
  isFailing(key: NeighbourKey): boolean
  set(neighbour: NetlinkNeighbour): void
  /** The kernel has dropped an entry: what it said is believed until the next answer, if somebody still wants to know. */
  forget(neighbour: NetlinkNeighbour, isWanted: (key: string) => boolean): void
  replaceAll(neighbours: readonly NetlinkNeighbour[]): void
}

/** @param isAsking whether silence means something: neighbours are asked for */
export const createNeighbours = (isAsking: boolean): Neighbours => {
  const known = new Map<string, NetlinkNeighbour>()
  /** Since when the kernel calls a neighbour failed: its MAC address is believed for one more round of questions. */
  const lastGood = new Map<string, { readonly neighbour: NetlinkNeighbour; readonly failures: number }>()

  const keyOf = ({ ifindex, address }: NetlinkNeighbour): string =>
    neighbourKeyText({ ifindex, address: addressText(address) })

  const set = (neighbour: NetlinkNeighbour): void => {
    const key = keyOf(neighbour)
    known.set(key, neighbour)
    if (neighbour.mac && !(neighbour.state & (NUD_FAILED | NUD_INCOMPLETE)))
      lastGood.set(key, { neighbour, failures: 0 })
    else if (neighbour.state & NUD_FAILED) {
      const good = lastGood.get(key)
      if (good) lastGood.set(key, { ...good, failures: good.failures + 1 })
    }
  }

  return {
    get: key => {
      const text = neighbourKeyText(key)
      const good = lastGood.get(text)
      return isAsking && good && good.failures <= 1 ? good.neighbour : known.get(text)
    },
    isFailing: key => {
      const neighbour = known.get(neighbourKeyText(key))
      return !neighbour?.mac || (neighbour.state & NUD_FAILED) !== 0
    },
    set,
    forget: (neighbour, isWanted) => {
      const key = keyOf(neighbour)
      known.delete(key)
      if (!isWanted(key)) lastGood.delete(key)
    },
    replaceAll: neighbours => {
      known.clear()
      for (const neighbour of neighbours) set(neighbour)
    },
  }
}
