/** A held service's entry in the service table, and how long its connections live: what depends on its backends too. */
import type { Held, HeldService } from './held.js'
import { connectionTimesLayout } from './layout.js'
import { NO_POOL, type PoolPlan } from './pool-plan.js'
import { connectionTimesOf, serviceEntryOf } from './service-rules.js'
import type { ServiceEntry } from './service-table.js'

/** The first of some addresses that is in a pool tells which: no address is in two. */
const poolOf = (addresses: readonly string[], { indexes }: PoolPlan): number =>
  addresses.map(address => indexes.get(address)).find(index => index !== undefined) ?? NO_POOL

/** Of a service of which something is wanted. @param pools of the program that is to have it */
export const entryOf = (
  held: Held,
  at: HeldService,
  seed: string,
  pools: PoolPlan = held.pools,
): ServiceEntry => {
  const { service, backends } = at.wanted!
  return serviceEntryOf(service, at, seed, {
    pool: poolOf(service.translation?.localAddresses ?? [], pools),
    fullnat: backends.some(({ translated }) => translated?.mode === 'fullnat'),
    byFlow: held.backends.hasByFlow(at.id),
  })
}

/** Of one that an earlier process left: its pool may have another index. */
export const movedEntry = ({ entry }: HeldService, from: PoolPlan, to: PoolPlan): ServiceEntry | null => {
  if (!entry?.pool) return entry
  const index = entry.pool
  const numbers = [index, index + 1].flatMap(one => {
    const pool = from.pools.get(one)
    return pool ? [pool.first] : []
  })
  return {
    ...entry,
    pool: poolOf(
      numbers.flatMap(number => from.numbers[number] ?? []),
      to,
    ),
  }
}

const WORDS = connectionTimesLayout.size / 8

const writeRow = (memory: ArrayBuffer, row: number, times: Uint8Array): void => {
  const words = new BigUint64Array(memory)
  new BigUint64Array(times.buffer, times.byteOffset, WORDS).forEach((word, i) => {
    if (words[row * WORDS + i] !== word) Atomics.store(words, row * WORDS + i, word)
  })
}

/** How long a service's connections live. */
export const writeTimes = (memory: ArrayBuffer, { id, wanted }: HeldService): void => {
  if (wanted) writeRow(memory, id, connectionTimesOf(wanted.service))
}

/** The same of all services, and of SNAT, whose row is the last. @param former of which services found have theirs */
export const writeAllTimes = (memory: ArrayBuffer, held: Held, services: number): void => {
  const former = held.dataplane.memory('connection_times')
  for (const at of held.services.values())
    if (at.wanted) writeTimes(memory, at)
    else if (former !== memory)
      writeRow(
        memory,
        at.id,
        new Uint8Array(former, at.id * connectionTimesLayout.size, connectionTimesLayout.size).slice(),
      )
  writeRow(memory, services, connectionTimesOf())
}
