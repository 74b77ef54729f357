/** What changes about a backend without anybody having asked for it: in the log, and to those who have subscribed. */
import { allBackends } from './checks.js'
import type { Event } from './control/protocol.js'
import type { Judgement } from './health/judge.js'
import { backendKey, identitiesOf } from './identities.js'
import type { Log } from './log.js'
import type { Running } from './running.js'
import type { Wanted } from './wanted.js'

export interface Telling {
  /** @param before undefined: the service was not in effect */
  nextHops(before: Running | undefined, now: Running): void
  /** @param key backendKey */
  health(wanted: Wanted, key: string, now: Judgement, before: Judgement): void
}

export const createTelling = (publish: (event: Event) => void, log: Log): Telling => ({
  nextHops: (before, now) => {
    const lacking = new Set(
      before && identitiesOf(before.service).backends.filter((_, i) => before.standings[i]!.lacksNextHop),
    )
    const { backends: identities } = identitiesOf(now.service)
    now.service.backends.forEach((backend, i) => {
      const { lacksNextHop, reason } = now.standings[i]!
      if (lacksNextHop === (lacking.size > 0 && lacking.has(identities[i]!))) return
      const name = `${now.service.name}/${backend.name}`
      if (lacksNextHop) log.warn({ event: 'backend.no-next-hop', backend: name, reason }, 'gets no packets')
      else log.info({ event: 'backend.next-hop', backend: name }, 'its next hop is known')
      publish({
        kind: 'next-hop',
        service: now.service.name,
        backend: backend.name,
        reason: lacksNextHop ? reason : null,
      })
    })
  },
  health: (wanted, key, now, before) => {
    if (now.health === before.health) return
    for (const { service, backend } of allBackends(wanted)) {
      if (backendKey(service, backend) !== key) continue
      const name = `${service.name}/${backend.name}`
      if (now.health === 'up') log.info({ event: 'backend.up', backend: name }, 'up')
      else log.warn({ event: 'backend.down', backend: name, reason: now.reason }, 'down')
      publish({
        kind: 'health',
        service: service.name,
        backend: backend.name,
        health: now.health,
        reason: now.reason,
      })
    }
  },
})
