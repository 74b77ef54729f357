/** Backends that drain or leave come to their end: what is to be seen of them, and what is told. */
import type { Sight } from './admin.js'
import type { AdminProgress, Going } from './admin-progress.js'
import type { Event } from './control/protocol.js'
import type { Tables } from './dataplane/tables.js'
import { backendKey } from './identities.js'
import type { Log } from './log.js'
import { deadlineOf, type Running } from './running.js'

export interface GoingsOptions {
  readonly running: ReadonlyMap<string, Running>
  readonly progress: AdminProgress
  readonly tables: Pick<Tables, 'flows'>
  /** A service of which the tables still hold what an earlier process left. */
  readonly isKept: (service: string) => boolean
  readonly now: () => number
  readonly publish: (event: Event) => void
  readonly log: Log
}

const UNKNOWN = { live: 0, isExact: false, sweepBeganMs: Number.NEGATIVE_INFINITY }

/** @returns a function to call now and then: it gives those that have come to another end, once */
export const createGoings = (options: GoingsOptions): (() => readonly Going[]) => {
  const { running, progress, tables, isKept, now, publish, log } = options

  const sightOf = ({ key, service: identity }: Going): Sight | null => {
    const one = running.get(identity)
    if (!one || isKept(identity)) return null
    const { service, slots } = one
    const i = service.backends.findIndex(backend => backendKey(service, backend) === key)
    return {
      nowMs: now(),
      ownsSlots: i >= 0 && slots[i]! > 0,
      flows:
        tables.flows(identity, key.slice(identity.length + 1)) ??
        (service.tracking === 'never' ? null : UNKNOWN),
    }
  }

  const tell = ({ key, service: identity, order }: Going): void => {
    const { service, leaving } = running.get(identity)!
    const backend = [...service.backends, ...leaving.map(one => one.backend)].find(
      one => backendKey(service, one) === key,
    )
    if (!backend) return
    const { out } = progress.of(key)
    const { state } = order
    const isOut = out !== null
    const reason = out === null ? null : out === 'deadline' ? 'its deadline has come' : 'its flows have gone'
    const name = `${service.name}/${backend.name}`
    if (isOut)
      log.info({ event: `backend.${state === 'leaving' ? 'gone' : 'drained'}`, backend: name, reason }, 'out')
    else log.warn({ event: 'backend.last-resort', backend: name }, 'in again: nobody else is left')
    publish({ kind: 'admin', service: service.name, backend: backend.name, state, isOut, reason })
  }

  return () => {
    const ended = progress.step(sightOf, ({ service, order }) => {
      const one = running.get(service)
      return one ? deadlineOf(order, one.service) : null
    })
    ended.forEach(tell)
    return ended
  }
}
