import t from 'tap'
import { createAdminProgress } from '../src/admin-progress.js'
import { parseConfig } from '../src/config.js'
import type { Config } from '../src/model.js'
import { leavingOf, strayBackend, wantedBy, withConfig, withOrder, withoutLeaving } from '../src/wanted.js'

const config = (...addresses: string[]): Config =>
  parseConfig(
    JSON.stringify({
      interfaces: ['eth0'],
      services: {
        web: {
          vip: '192.0.2.10',
          port: 80,
          tracking: 'on-change',
          backends: addresses.map(address => ({ address })),
        },
      },
    }),
  ).config
const none = parseConfig('interfaces: [eth0]\n').config
const WEB = '192.0.2.10:80/tcp'
const key = (address: string) => `${WEB} ${address}:80`
const stays = () => true

t.test('a backend that is taken out is leaving, and is none any more when it is back', async t => {
  const before = wantedBy(config('10.0.0.1', '10.0.0.2'))
  const without = withConfig(before, config('10.0.0.1'), 5000, stays)
  t.match([...without.leaving], [[key('10.0.0.2'), { service: WEB, sinceMs: 5000 }]])
  t.match(leavingOf(without, WEB), [{ address: '10.0.0.2' }])
  t.same(leavingOf(without, 'another'), [])
  const back = withConfig(without, config('10.0.0.1', '10.0.0.2'), 6000, stays)
  t.equal(back.leaving.size, 0)
  t.equal(before.leaving.size, 0, 'what was is not changed')
})

t.test('one that has no flows to wait for is gone at once', async t => {
  const before = wantedBy(config('10.0.0.1', '10.0.0.2'))
  t.equal(withConfig(before, config('10.0.0.1'), 0, name => name !== key('10.0.0.2')).leaving.size, 0)
})

t.test('with its service all of it goes', async t => {
  const without = withConfig(wantedBy(config('10.0.0.1', '10.0.0.2')), config('10.0.0.1'), 0, stays)
  t.equal(withConfig(without, none, 0, stays).leaving.size, 0)
})

t.test('an order ends when its backend is taken out', async t => {
  const order = { state: 'disabled', sinceMs: 1 } as const
  const ordered = withOrder(wantedBy(config('10.0.0.1', '10.0.0.2')), key('10.0.0.2'), order)
  t.equal(withConfig(ordered, config('10.0.0.1', '10.0.0.2'), 0, stays).orders.size, 1)
  t.equal(withConfig(ordered, config('10.0.0.1'), 0, stays).orders.size, 0)
  t.equal(withOrder(ordered, key('10.0.0.2'), null).orders.size, 0)
})

t.test('one that leaves may be cut', async t => {
  const without = withConfig(wantedBy(config('10.0.0.1', '10.0.0.2')), config('10.0.0.1'), 0, stays)
  t.equal(withoutLeaving(without, [key('10.0.0.2')]).leaving.size, 0)
})

t.test('a backend found in the tables is called by its address', async t => {
  t.match(strayBackend({ port: 80 }, '10.0.0.1:80'), { name: '10.0.0.1', address: '10.0.0.1', port: null })
  t.match(strayBackend({ port: 80 }, '[2001:db8::1]:8080'), {
    name: '[2001:db8::1]:8080',
    address: '2001:db8::1',
    port: 8080,
  })
})

t.test('progress belongs to an order: another one begins anew', async t => {
  const progress = createAdminProgress()
  const ordered = (sinceMs: number) =>
    withOrder(wantedBy(config('10.0.0.1')), key('10.0.0.1'), { state: 'draining', sinceMs, deadlineMs: 1000 })
  progress.follow(ordered(0))
  const step = (nowMs: number) =>
    progress.step(
      () => ({ nowMs, ownsSlots: false, flows: { live: 1, isExact: false, sweepBeganMs: 0 } }),
      ({ order }) => (order.state === 'draining' ? order.deadlineMs : null),
    )
  t.same(step(500), [])
  t.match(step(1000), [{ key: key('10.0.0.1'), service: WEB }])
  t.same(step(1500), [], 'it is told once')
  t.match(progress.admin(key('10.0.0.1')), { state: 'draining', isOut: true })
  progress.follow(ordered(2000))
  t.match(progress.admin(key('10.0.0.1')), { state: 'draining', isOut: false })
  progress.follow(wantedBy(config('10.0.0.1')))
  t.match(progress.admin(key('10.0.0.1')), { state: 'enabled' })
})

t.test('what nothing is to be seen of makes no progress', async t => {
  const progress = createAdminProgress()
  progress.follow(
    withOrder(wantedBy(config('10.0.0.1')), key('10.0.0.1'), {
      state: 'draining',
      sinceMs: 0,
      deadlineMs: 0,
    }),
  )
  t.same(
    progress.step(
      () => null,
      () => 0,
    ),
    [],
  )
})
