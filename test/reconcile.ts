import t from 'tap'
import { parseConfig } from '../src/config.js'
import type { Config } from '../src/model.js'
import { diffConfigs } from '../src/reconcile.js'

const config = (services: object, changes: object = {}): Config =>
  parseConfig(JSON.stringify({ interfaces: ['eth0'], services, ...changes })).config
const web = (backends: object[], changes: object = {}) => ({
  web: { vip: '192.0.2.10', port: 80, protocol: 'tcp', backends, ...changes },
})
const b1 = { name: 'b1', address: '10.0.0.11' }
const b2 = { name: 'b2', address: '10.0.0.12' }

t.test('the same configuration differs in nothing, whatever the order of its lines', async t => {
  t.same(diffConfigs(config(web([b1, b2])), config(web([b2, b1]))), [])
})

t.test('backends that come, go and change are named with what changed', async t => {
  const after = config(
    web([
      { ...b2, weight: 5 },
      { name: 'b3', address: '10.0.0.13' },
    ]),
  )
  t.same(diffConfigs(config(web([b1, b2])), after), [
    { action: 'remove', kind: 'backend', name: 'web/b1', detail: '10.0.0.11:80' },
    { action: 'change', kind: 'backend', name: 'web/b2', detail: 'weight 1 -> 5' },
    { action: 'add', kind: 'backend', name: 'web/b3', detail: '10.0.0.13:80, weight 1' },
  ])
})

t.test('a backend is the same by its address, so that another name is a change of name', async t => {
  const after = config(web([{ ...b1, name: 'first' }]))
  t.same(diffConfigs(config(web([b1])), after), [
    { action: 'change', kind: 'backend', name: 'web/first', detail: 'name b1 -> first' },
  ])
})

t.test('services, interfaces and settings too', async t => {
  const after = config(
    { dns: { vip: '192.0.2.10', port: 53, protocol: 'udp', backends: [] } },
    { interfaces: ['eth1'], xdp: 'generic' },
  )
  t.same(
    diffConfigs(config(web([b1])), after).map(({ action, kind, name }) => `${action} ${kind} ${name}`),
    [
      'remove interface eth0',
      'add interface eth1',
      'change setting xdp',
      'remove service web',
      'add service dns',
    ],
  )
  t.match(diffConfigs(config(web([b1])), config(web([b1], { 'no-backend': 'drop' }))), [
    { action: 'change', kind: 'service', name: 'web', detail: 'noBackend reject -> drop' },
  ])
})

t.test('another tunnel is a change in words', async t => {
  const before = config(web([b1, b2], { forward: 'ipip' }))
  const detail = (services: object): string[] =>
    diffConfigs(before, config(services)).map(({ name, detail }) => `${name}: ${detail}`)
  t.same(
    detail(
      web([b1, b2], { forward: 'gre', key: 7, mss: 'clamp', ping: 'drop', 'tunnel-source': '10.9.0.0/16' }),
    ),
    [
      'web: forward ipip -> gre, key 7, tunnelSource none -> ["10.9.0.0/16"], mss keep -> clamp, ping answer -> drop',
    ],
  )
  t.same(detail(web([b1, b2], { forward: { mode: 'gue', variant: 1 } })), [
    'web: forward ipip -> gue, variant 1',
  ])
  t.same(
    detail(
      web([{ ...b1, forward: { mode: 'gue', port: 5555 }, 'tunnel-source': '10.9.0.1' }, b2], {
        forward: 'ipip',
      }),
    ),
    ["web/b1: forward the service's -> gue, port 5555, tunnelSource the service's -> 10.9.0.1"],
  )
})
