/** How far the backends have come that drain or leave. */
import { type Admin, adminOf, notBegun, type Order, type Progress, progressed, type Sight } from './admin.js'
import type { Wanted } from './wanted.js'

export interface Going {
  /** backendKey */
  readonly key: string
  /** Its service's identity. */
  readonly service: string
  readonly order: Order
}

export interface AdminProgress {
  order(key: string): Order | undefined
  of(key: string): Progress
  admin(key: string): Admin
  /** Another order begins anew. */
  follow(wanted: Wanted): void
  /**
   * Some time has passed.
   *
   * @param sightOf    null: nothing is to be seen of it yet
   * @param deadlineOf how long it may take; null: as long as it does
   * @returns those that have come to another end, or to none any more
   */
  step(sightOf: (going: Going) => Sight | null, deadlineOf: (going: Going) => number | null): readonly Going[]
}

export const createAdminProgress = (): AdminProgress => {
  let going = new Map<string, Going>()
  const progress = new Map<string, Progress>()

  const of = (key: string): Progress => progress.get(key) ?? notBegun

  return {
    order: key => going.get(key)?.order,
    of,
    admin: key => adminOf(going.get(key)?.order, progress.get(key)),
    follow: ({ orders, leaving }) => {
      const next = new Map<string, Going>()
      for (const [key, order] of orders)
        next.set(key, { key, service: key.slice(0, key.indexOf(' ')), order })
      for (const [key, { service, sinceMs }] of leaving) {
        const before = going.get(key)
        const isSame = before?.order.state === 'leaving' && before.order.sinceMs === sinceMs
        next.set(key, isSame ? before : { key, service, order: { state: 'leaving', sinceMs } })
      }
      for (const [key, { order }] of going) if (next.get(key)?.order !== order) progress.delete(key)
      going = next
    },
    step: (sightOf, deadlineOf) => {
      const changed: Going[] = []
      for (const one of going.values()) {
        const sight = sightOf(one)
        if (!sight) continue
        const before = of(one.key)
        const after = progressed(one.order, before, sight, deadlineOf(one))
        progress.set(one.key, after)
        if (after.out !== before.out) changed.push(one)
      }
      return changed
    },
  }
}
