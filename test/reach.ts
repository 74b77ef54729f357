import t from 'tap'
import { addressBytes, addressText } from '../src/address.js'
import { parseConfig } from '../src/config.js'
import type { NextHop } from '../src/dataplane/tables.js'
import type { Service } from '../src/model.js'
import type { Resolution } from '../src/next-hop.js'
import { resolutionOf, targetOf, tunnelOf } from '../src/reach.js'
import { withWeb } from './fixtures/config.js'

const serviceOf = (...lines: string[]): Service =>
  parseConfig(withWeb(...lines, 'backends: [{ address: 10.0.0.1 }]')).config.services[0]!
const only = ({ backends }: Service) => backends[0]!

t.test(
  'a backend without a tunnel is looked up as itself, one with a tunnel may be behind a gateway',
  async t => {
    const direct = serviceOf()
    t.equal(targetOf(direct, only(direct)), only(direct))
    t.equal(tunnelOf(direct, only(direct)), null)
    const tunnelled = serviceOf('forward: ipip')
    t.same(targetOf(tunnelled, only(tunnelled)), {
      address: '10.0.0.1',
      mac: null,
      isTunnelled: true,
      leastMtu: 576 + 20,
    })
  },
)

t.test('what clients send anyway is to fit: 576 bytes and a tunnel over IPv4, 1280 over IPv6', async t => {
  const service = serviceOf('forward: { mode: gre, key: 7 }')
  const leastOf = (one: Service) => targetOf(one, only(one)).leastMtu
  t.equal(leastOf(service), 576 + 28)
  t.equal(leastOf({ ...service, vip: '2001:db8::10' }), 1280 + 28)
  t.equal(leastOf({ ...service, forward: { mode: 'gue', port: 6080, variant: 0 } }), 576 + 32)
})

t.test('tunnel and target are the same objects until something of them changes', async t => {
  const service = serviceOf('forward: gre', 'tunnel-source: 10.9.0.0/16')
  const backend = only(service)
  const [tunnel, target] = [tunnelOf(service, backend), targetOf(service, backend)]
  t.same(tunnel!.forward, { mode: 'gre', key: null })
  t.equal(tunnel!.source!.spread, 16)
  t.equal(addressText(tunnel!.source!.address), '10.9.0.0')
  t.equal(tunnelOf({ ...service, ringSize: 251 }, backend), tunnel)
  t.equal(targetOf(service, backend), target)
  t.not(tunnelOf({ ...service, forward: { mode: 'ipip' } }, backend), tunnel)
  t.equal(tunnelOf({ ...service, tunnelSource: [] }, backend)!.source, null)
  t.equal(
    tunnelOf({ ...service, forward: { mode: 'dr' } }, backend),
    null,
    'its service is direct from here on',
  )
})

t.test('a tunnel without a source is an unresolved next hop', async t => {
  const nextHop: NextHop = {
    ifindex: 1,
    mac: new Uint8Array(6),
    sourceMac: new Uint8Array(6),
    mtu: 1500,
    source: null,
  }
  const by = (resolution: Resolution) => ({ get: () => resolution })
  const sourceless = { nextHop, neighbour: null }
  const bare = serviceOf('forward: ipip')
  t.same(resolutionOf(by(sourceless), bare, only(bare)), {
    reason: 'the route to 10.0.0.1 names no source address: give tunnel-source',
    neighbour: null,
  })
  const given = serviceOf('forward: ipip', 'tunnel-source: 10.9.0.1')
  t.equal(resolutionOf(by(sourceless), given, only(given)), sourceless)
  const known = { nextHop: { ...nextHop, source: addressBytes('10.0.0.2') }, neighbour: null }
  t.equal(resolutionOf(by(known), bare, only(bare)), known)
  const direct = serviceOf()
  t.equal(resolutionOf(by(sourceless), direct, only(direct)), sourceless)
  const reason = { reason: 'no route', neighbour: null }
  t.equal(resolutionOf(by(reason), bare, only(bare)), reason)
})

t.test('translated backends may be routed to; FULLNAT ones come from local addresses', async t => {
  const nat = serviceOf('forward: nat')
  t.same(targetOf(nat, only(nat)), { address: '10.0.0.1', mac: null, isRouted: true, leastMtu: 576 })
  t.equal(tunnelOf(nat, only(nat)), null)
  t.equal(targetOf(nat, only(nat)), targetOf(nat, only(nat)), 'the very same')
  const full = serviceOf('forward: fullnat', 'local-addresses: [10.1.0.100, "fd00::100"]')
  t.same(targetOf(full, only(full)), {
    address: '10.0.0.1',
    mac: null,
    isRouted: true,
    leastMtu: 576,
    localAddresses: ['10.1.0.100', 'fd00::100'],
  })
  t.equal(targetOf(full, only(full)), targetOf({ ...full, ringSize: 251 }, only(full)))
})

t.test('what fits is said of the packets as clients send them', async t => {
  const nextHop: NextHop = {
    ifindex: 1,
    mac: new Uint8Array(6),
    sourceMac: new Uint8Array(6),
    mtu: 1500,
    source: null,
  }
  const found: Resolution = { nextHop, neighbour: null, learntMtu: 1500 }
  const by = { get: () => found }
  const full = serviceOf('forward: fullnat', 'local-addresses: [10.1.0.100, "fd00::100"]')
  const [backend] = full.backends
  const of = (vip: string, address: string) => {
    const other = { ...backend!, address }
    const service = { ...full, vip, backends: [other] }
    const resolution = resolutionOf(by, service, other)
    const { leastMtu } = targetOf(service, other)
    return 'nextHop' in resolution
      ? [resolution.nextHop.mtu, resolution.learntMtu, leastMtu]
      : resolution.reason
  }
  t.same(of('192.0.2.10', '10.0.0.1'), [1500, 1500, 576])
  t.same(of('2001:db8::10', 'fd00::1'), [1500, 1500, 1280])
  t.same(of('192.0.2.10', 'fd00::1'), [1480, 1480, 596], 'the IPv6 header is longer')
  t.same(of('2001:db8::10', '10.0.0.1'), [1520, 1520, 1260], 'and the IPv4 header shorter')
  const again = { ...full, vip: '192.0.2.10', backends: [{ ...backend!, address: 'fd00::1' }] }
  t.equal(resolutionOf(by, again, only(again)), resolutionOf(by, again, only(again)), 'the very same')
})
