/**
 * A service is put into the tables with the fewest stores. Orders: a backend's entry and its flags before the slots that
 * name it, a ring before the service that names it; what goes is left in place until no packet can be holding it. A put
 * that fails leaves what was there.
 */
import { addressBytes } from '../address.js'
import { type Service, serviceIdentity } from '../model.js'
import type { WantedBackend } from './backends.js'
import { unitsOf } from './flow-clock.js'
import type { Growth } from './growth.js'
import { type Held, type HeldService, keepVips, takeService, type WantedService } from './held.js'
import { backendFlags, serviceFlags } from './layout.js'
import type { NatBackend } from './replies.js'
import { entryOf, writeTimes } from './service-entries.js'
import { breakingEntry, idleMs } from './service-rules.js'
import type { OwnerRules } from './slot.js'
import type { RingSlots } from './slots.js'

export interface PuttingOptions {
  /** A change has written ring slots of a service: how many. */
  readonly onSlotsWritten?: (count: number) => void
  /** What an earlier process left is changed so that every flow of a service may meet another backend: its name, and why. */
  readonly onBroken?: (service: string, reason: string) => void
}

const REFUSING = backendFlags.BACKEND_DEAD | backendFlags.BACKEND_NO_NEW

/** @returns adds or changes one service; resolves with how many slots were written */
export const createPutting = (
  held: Held,
  { freshSlots, reshape }: Pick<Growth, 'freshSlots' | 'reshape'>,
  options: PuttingOptions,
): ((wanted: WantedService) => Promise<number>) => {
  const { dataplane, services, backends, serviceIds, regions } = held

  const rulesOf = (service: Service, listed: ReadonlySet<number>): OwnerRules => ({
    tracking: service.tracking,
    takesNew: id => (backends.flags(id) & REFUSING) === 0,
    isGone: id => !listed.has(id),
  })

  /** Most changes leave most backends as they were: the very same objects. @returns their ids */
  const writeBackends = (at: HeldService, { service, backends: wanted }: WantedService): number[] => {
    const idle = unitsOf(idleMs(service))
    const before = at.wanted && idleMs(at.wanted.service) === idleMs(service) ? at.wanted.backends : []
    const { ids } = at
    at.ids = [] // a put that fails has written some of them
    return wanted.map((backend, i) =>
      backend === before[i] && i < ids.length ? ids[i]! : backends.write(at.id, backend, idle),
    )
  }

  /** By what is wanted, with its id: the very same object as long as nothing of it changes. */
  const natBackends = new WeakMap<WantedBackend, NatBackend>()
  const natOf = (ids: readonly number[], wanted: readonly WantedBackend[]): NatBackend[] =>
    wanted.flatMap((backend, i) => {
      const { translated, address, port } = backend
      if (translated?.mode !== 'nat') return []
      const id = ids[i]!
      const before = natBackends.get(backend)
      if (before?.id === id) return [before]
      const { vip, protocol } = translated
      const one = { id, backend: { addr: addressBytes(address), port }, protocol, vip }
      natBackends.set(backend, one)
      return [one]
    })

  /** A backend that two services have may be by flow for both of them from here on, or no longer. */
  let refreshed = backends.flowChanges()
  const refreshFlags = (): void => {
    if (backends.flowChanges() === refreshed) return
    refreshed = backends.flowChanges()
    for (const at of services.values()) {
      if (!at.wanted || !at.entry) continue
      const flag = serviceFlags.SERVICE_CONNECTIONS
      const next = entryOf(held, at, dataplane.shape.seed)
      if (((next.flags ^ at.entry.flags) & flag) === 0) continue
      at.entry = next
      held.table.put(next)
    }
  }

  /** A service that was not there: a ring and an id of its own. */
  const openService = async (size: number): Promise<HeldService> => {
    const slots = await freshSlots(size)
    try {
      return takeService(held, slots)
    } catch (error) {
      regions.free(slots.base, slots.size)
      throw error
    }
  }

  /** What nobody has met yet is nobody's again. */
  const giveBack = (at: HeldService): void => {
    held.replies.setNat(at.id, [])
    for (const id of [...backends.ofService(at.id).values()]) backends.giveBack(id)
    regions.free(at.slots.base, at.slots.size)
    serviceIds.free(at.id)
  }

  /** The backends' entries, and the ring where it is another: all that a put needs room for, or nothing of it. */
  const prepare = async (
    at: HeldService,
    wanted: WantedService,
  ): Promise<{ readonly ids: readonly number[]; readonly slots: RingSlots }> => {
    const size = wanted.owners.length
    const slots = at.slots.size === size ? at.slots : await freshSlots(size)
    const known = backends.ofService(at.id).size
    try {
      return { ids: writeBackends(at, wanted), slots }
    } catch (error) {
      for (const id of [...backends.ofService(at.id).values()].slice(known)) backends.giveBack(id)
      if (slots !== at.slots) regions.free(slots.base, slots.size)
      throw error
    }
  }

  const putInto = async (at: HeldService, name: string, wanted: WantedService): Promise<number> => {
    const { service, owners } = wanted
    const former = at.slots
    const { ids, slots } = await prepare(at, wanted)
    const isResized = slots !== former
    at.slots = slots

    // Replies are known before the first request is forwarded, and until no packet can be under way.
    const nat = natOf(ids, wanted.backends)
    const formerNat = held.replies.natOf(at.id)
    const isKnown = new Set(nat.map(({ id }) => id))
    const both = [...nat, ...formerNat.filter(({ id }) => !isKnown.has(id))]
    if (!held.replies.setNat(at.id, both)) await reshape({})

    const present = backends.ofService(at.id)
    const listed =
      ids.length === at.listed.size && ids.every(id => at.listed.has(id)) ? at.listed : new Set(ids)
    const gone = present.size === ids.length ? [] : [...present.values()].filter(id => !listed.has(id))
    for (const id of gone) backends.markDead(id)

    const isSameRing =
      at.wanted?.owners === owners &&
      at.wanted.service.tracking === service.tracking &&
      gone.length === 0 &&
      !isResized
    const written = isSameRing ? 0 : slots.setOwners(owners, ids, rulesOf(service, listed))
    if (written > 0) {
      at.written = written
      at.writtenInAll += written
      options.onSlotsWritten?.(written)
    }
    const found = at.wanted ? null : at.entry
    Object.assign(at, { wanted, ids, listed })
    writeTimes(dataplane.memory('connection_times'), at)
    at.entry = entryOf(held, at, dataplane.shape.seed)
    const broken = found && breakingEntry(found, at.entry)
    if (broken) options.onBroken?.(service.name, broken)
    services.set(name, at)
    // The service last: while it is not there nobody has met it, and all of this can be taken back.
    if (!held.vips.put(service) || !held.table.put(at.entry)) await reshape({})
    held.replies.setNat(at.id, nat)
    refreshFlags()
    for (const id of gone) backends.retire(id)
    if (isResized) regions.free(former.base, former.size)
    return written
  }

  return async wanted => {
    const name = serviceIdentity(wanted.service)
    const present = services.get(name)
    if (present) return putInto(present, name, wanted)
    const at = await openService(wanted.owners.length)
    try {
      return await putInto(at, name, wanted)
    } catch (error) {
      services.delete(name)
      giveBack(at)
      keepVips(held)
      throw error
    }
  }
}
