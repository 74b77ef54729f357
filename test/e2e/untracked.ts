import t from 'tap'
import type { BackendRow } from '../../src/control/protocol.js'
import { VIP } from '../../src/lab/lab.js'
import { fetchNames, openLab, serve, skip, startOn } from '../fixtures/site.js'

t.test('where nothing is tracked a change has its effect when it is answered', { skip }, async t => {
  const lab = await openLab(t)
  const backends = lab.backends.map(({ name, address }) => ({ name, address }))
  const services = {
    web: { vip: VIP, port: 80, protocol: 'tcp', tracking: 'never', backends },
    echo: { vip: VIP, port: 7, protocol: 'udp', tracking: 'never', backends: backends.slice(0, 1) },
  }
  const daemon = startOn(lab, { interfaces: ['eth0'], services })
  await daemon.ready()
  const seen = async () => [...new Set(await fetchNames(lab.client, VIP, 60))].sort()
  const listed = async () =>
    (await daemon.json<BackendRow[]>('backend', 'list', 'web')).map(({ backend }) => backend).sort()
  t.same(await seen(), ['b1', 'b2', 'b3'])

  await daemon.json('backend', 'remove', 'web/b1')
  t.same(await listed(), ['b2', 'b3'])
  t.same(await seen(), ['b2', 'b3'])
  await daemon.json('backend', 'set', 'web/b2', '--weight', '0')
  t.same(await seen(), ['b3'])
  await daemon.json('backend', 'add', 'web/b1', '--address', lab.backends[0]!.address)
  t.same(await listed(), ['b1', 'b2', 'b3'])
  await daemon.until('web', 'b1', ({ slots }) => slots > 0)
  t.same(await seen(), ['b1', 'b3'])

  await Promise.all(lab.backends.slice(0, 2).map(host => serve(host, 'udp-echo', host.name, 7)))
  await daemon.json('backend', 'add', 'echo/b2', '--address', lab.backends[1]!.address)
  await daemon.until('echo', 'b2', ({ slots }) => slots > 0)
  await daemon.json('backend', 'remove', 'echo/b1')
  t.equal((await daemon.json<BackendRow[]>('backend', 'list', 'echo')).length, 1)
})
