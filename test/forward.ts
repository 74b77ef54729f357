/** From the configuration to what the tables are told, while it runs. */
import t from 'tap'
import { PEER, temporaryDirectory } from './control/fixtures/daemon.js'
import { createFakeSite } from './fixtures/balancer.js'

const WEB = '192.0.2.10:80/tcp'
const file = (service: object, ...backends: readonly object[]): string =>
  JSON.stringify({
    interfaces: ['eth0'],
    services: { web: { vip: '192.0.2.10', port: 80, ...service, backends } },
  })
const b1 = { name: 'b1', address: '10.0.0.1' }
const b2 = { name: 'b2', address: '10.0.0.2' }
const source = { 'tunnel-source': '10.9.0.0/16' }

const open = async (t: Parameters<typeof createFakeSite>[0], text: string) => {
  const site = await createFakeSite(t, { file: text, stateDir: temporaryDirectory(t) })
  const { handlers, put } = site
  return {
    ...site,
    apply: (config: string) => handlers.apply({ config }, PEER),
    told: () =>
      put.get(WEB)!.backends.map(({ identity, tunnel }) => [identity, tunnel?.forward.mode ?? 'dr']),
    show: (backend: string) => handlers['backend.show']({ service: 'web', backend }, PEER),
  }
}

t.test('an apply changes how a backend is reached, in place', async t => {
  const { apply, told, show, put } = await open(t, file({}, b1, b2))
  t.same(told(), [
    ['10.0.0.1:80', 'dr'],
    ['10.0.0.2:80', 'dr'],
  ])
  t.match(await show('b1'), { forward: 'dr', tunnel: null, mtu: 1500 })
  const before = put.get(WEB)!.owners

  const { changes } = await apply(file({ forward: 'ipip', ...source }, b1, { ...b2, forward: 'gue' }))
  t.same(
    changes.map(({ name, detail }) => `${name}: ${detail}`),
    ['web: forward dr -> ipip, tunnelSource none -> ["10.9.0.0/16"]', "web/b2: forward the service's -> gue"],
  )
  t.same(told(), [
    ['10.0.0.1:80', 'ipip'],
    ['10.0.0.2:80', 'gue'],
  ])
  t.same(put.get(WEB)!.owners, before, 'no slot moves')
  t.match(await show('b1'), {
    forward: 'ipip',
    tunnel: { source: '10.9.0.0/16', key: null, port: null, variant: null, overhead: 20, learntMtu: null },
    mtu: 1480,
    reason: null,
  })
  t.match(await show('b2'), {
    forward: 'gue',
    tunnel: { source: '10.9.0.0/16', port: 6080, variant: 0, overhead: 32 },
    mtu: 1468,
  })
  await apply(file({}, b1, b2))
  t.same(told(), [
    ['10.0.0.1:80', 'dr'],
    ['10.0.0.2:80', 'dr'],
  ])
})

t.test('without a source address a tunnel is no way, and that is said', async t => {
  const { show, put } = await open(t, file({ forward: 'ipip' }, b1, { ...b2, ...source }))
  t.match(await show('b1'), {
    tunnel: { source: null },
    mtu: null,
    nextHop: null,
    slots: 0,
    reason: 'the route to 10.0.0.1 names no source address: give tunnel-source',
  })
  t.match(await show('b2'), { tunnel: { source: '10.9.0.0/16' }, mtu: 1480, reason: null })
  t.match(put.get(WEB)!.backends, [{ isDead: true }, { isDead: false }])
})

t.test(
  'a backend that is added at run time is reached as its service says, then and after a restart',
  async t => {
    const stateDir = temporaryDirectory(t)
    const text = file({ forward: { mode: 'gre', key: 7 }, ...source }, { ...b1, forward: 'ipip' })
    const first = await createFakeSite(t, { file: text, stateDir })
    const add = { service: 'web', backend: 'b6', address: '2001:db8::6' }
    await t.rejects(
      first.handlers['backend.add']({ ...add, port: 81 }, PEER),
      { code: 'ERR_BAD_REQUEST' },
      'its port differs',
    )
    await first.handlers['backend.add']({ service: 'web', backend: 'b2', address: '10.0.0.2' }, PEER)
    t.match(await first.handlers['backend.show']({ service: 'web', backend: 'b2' }, PEER), {
      forward: 'gre',
      tunnel: { key: 7, overhead: 28 },
    })
    // Removed and added again, it is no longer the one of the file, which goes by ipip.
    await first.handlers['backend.remove']({ service: 'web', backend: 'b1', now: true }, PEER)
    await first.handlers['backend.add']({ service: 'web', backend: 'b1', address: '10.0.0.1' }, PEER)
    const second = await createFakeSite(t, { file: text, stateDir })
    t.same(
      second.put
        .get(WEB)!
        .backends.map(({ identity, tunnel }) => [identity, tunnel?.forward.mode])
        .sort(),
      [
        ['10.0.0.1:80', 'gre'],
        ['10.0.0.2:80', 'gre'],
      ],
    )
  },
)
