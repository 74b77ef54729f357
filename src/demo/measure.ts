/** The demo's two measurements: how requests spread over the backends, and what the loss of one costs. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Daemon } from '../lab/daemon.js'
import { type BackendHost, type Lab, VIP } from '../lab/lab.js'
import { startLoad } from '../lab/load.js'
import type { Report } from './report.js'

const SERVICE = 'web'
const SETTLE_MS = 1500

/** Sends requests as fast as they are answered; the backends' logs tell who served them. */
export const measureSpread = async (lab: Lab, daemon: Daemon, requests: number) => {
  const path = '/spread'
  const outcomes = await startLoad(lab.client, { host: VIP, path, requests, concurrency: 16 }).outcomes
  const counts = lab.backends.map(backend => ({
    backend: backend.name,
    requests: backend.web.served().filter(line => line.path === path && line.server === VIP).length,
  }))
  const total = counts.reduce((sum, count) => sum + count.requests, 0)
  const ring = await daemon.ring(SERVICE)
  const backends = counts.map(count => ({
    ...count,
    expected: ring.backends.find(row => row.backend === count.backend)?.expected ?? 0,
    actual: total === 0 ? 0 : count.requests / total,
  }))
  return { requests: total, failed: outcomes.filter(outcome => outcome.error !== null).length, backends }
}

/** Stops a backend's web server under steady load, until its health check has taken it out of the ring. */
export const measureFailover = async (
  lab: Lab,
  daemon: Daemon,
  victim: BackendHost,
): Promise<Report['failover']> => {
  const load = startLoad(lab.client, {
    host: VIP,
    path: '/failover',
    requests: 20_000,
    concurrency: 64,
    perSecond: 400,
  })
  await sleep(SETTLE_MS)
  const stopped = performance.timeOrigin + performance.now()
  await victim.web.stop()
  await daemon.until(SERVICE, victim.name, row => row.health === 'down')
  await sleep(SETTLE_MS)
  load.stop()
  const failures = (await load.outcomes).filter(outcome => outcome.error !== null)
  const last = Math.max(stopped, ...failures.map(outcome => outcome.ended))
  return { seconds: Math.round(last - stopped) / 1000, failed: failures.length }
}
