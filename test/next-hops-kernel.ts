/** The real kernel's events, and nothing but them: nothing is asked for again here as time passes. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { addressText, macText } from '../src/address.js'
import type { Resolution } from '../src/next-hop.js'
import type { Target } from '../src/next-hop-target.js'
import { createNextHops } from '../src/next-hops.js'
import { keepLog } from './control/fixtures/daemon.js'
import { run, until, vethPair } from './fixtures/host.js'
import { inOwnNamespaces, native } from './fixtures/native.js'

const far4: Target = { address: '10.9.0.5', mac: null, isTunnelled: true }
const far6: Target = { address: 'fd00:9::5', mac: null, isTunnelled: true }
const near: Target = { address: '10.1.0.7', mac: null }

/** "gateway's MAC address on device's MTU from source", or the reason. */
const wordOf = (resolution: Resolution): string => {
  if ('reason' in resolution) return resolution.reason
  const { mac, mtu, source } = resolution.nextHop
  return `${macText(mac).slice(-2)} ${mtu} ${source ? addressText(source) : '-'}`
}

const devices = [
  ['one', 1],
  ['two', 2],
] as const

/** Of 7 and 8 on a device: who they are never changes by itself. */
const neighbours = (device: string, net: number): string[] =>
  [7, 8].flatMap(last =>
    [`10.${net}.0.${last}`, `fd00:${net}::${last}`].map(
      address =>
        `ip neigh replace ${address} lladdr 02:00:00:00:00:${net}${last} dev ${device} nud permanent`,
    ),
  )

if (inOwnNamespaces(t, import.meta.url)) {
  run('ip link set lo up')
  for (const [device, net] of devices) {
    vethPair(t, device, `${device}peer`)
    run(`ip addr add 10.${net}.0.2/24 dev ${device}`)
    run(`ip -6 addr add fd00:${net}::2/64 dev ${device} nodad`)
    for (const command of neighbours(device, net)) run(command)
  }
  const paths: string[] = []
  const nextHops = await createNextHops({
    netlink: new native.Netlink(),
    entry: links => links[0],
    onChange: () => {},
    onPathChange: address => paths.push(address),
    log: keepLog(),
    probe: false,
  })
  t.teardown(() => nextHops.close())
  await nextHops.follow([far4, far6, near])

  const becomes = async (target: Target, wanted: string | RegExp) => {
    const isSo = () => {
      const word = wordOf(nextHops.get(target))
      return typeof wanted === 'string' ? word === wanted : wanted.test(word)
    }
    await until(target.address, isSo).catch(() => {})
    return isSo() ? '' : `${wordOf(nextHops.get(target))} instead of ${wanted}`
  }

  /** What is done, and what the next hop is thereafter. */
  const steps = (
    target: Target,
    all: readonly (readonly [title: string, commands: readonly string[], wanted: string | RegExp])[],
  ) => {
    for (const [title, commands, wanted] of all)
      t.test(`${target.address}: ${title}`, async t => {
        // What came before is over: only this step's own events can tell of it.
        await sleep(60)
        for (const command of commands) run(command)
        t.equal(await becomes(target, wanted), '')
      })
  }

  steps(far4, [
    ['no route', [], /no route/],
    ['a gateway', ['ip route add 10.9.0.0/16 via 10.1.0.7'], '17 1500 10.1.0.2'],
    ['another gateway', ['ip route replace 10.9.0.0/16 via 10.1.0.8'], '18 1500 10.1.0.2'],
    ['another device', ['ip route replace 10.9.0.0/16 via 10.2.0.7'], '27 1500 10.2.0.2'],
    [
      'a better metric',
      [
        'ip route replace 10.9.0.0/16 via 10.2.0.7 metric 20',
        'ip route del 10.9.0.0/16 metric 0',
        'ip route add 10.9.0.0/16 via 10.1.0.7 metric 10',
      ],
      '17 1500 10.1.0.2',
    ],
    ['the worse metric is left', ['ip route del 10.9.0.0/16 metric 10'], '27 1500 10.2.0.2'],
    ['a longer prefix', ['ip route add 10.9.0.0/24 via 10.1.0.7'], '17 1500 10.1.0.2'],
    ['an MTU', ['ip route replace 10.9.0.0/24 via 10.1.0.7 mtu 1400'], '17 1400 10.1.0.2'],
    ['another MTU', ['ip route change 10.9.0.0/24 via 10.1.0.7 mtu 1450'], '17 1450 10.1.0.2'],
    ['no MTU', ['ip route replace 10.9.0.0/24 via 10.1.0.7'], '17 1500 10.1.0.2'],
    [
      'a source',
      ['ip addr add 10.1.0.3/32 dev one', 'ip route replace 10.9.0.0/24 via 10.1.0.7 src 10.1.0.3'],
      '17 1500 10.1.0.3',
    ],
    ['the source is gone, and its route with it', ['ip addr del 10.1.0.3/32 dev one'], '27 1500 10.2.0.2'],
    [
      'a gateway of the other family',
      ['ip route add 10.9.0.0/24 via inet6 fd00:1::8 dev one'],
      '18 1500 10.1.0.2',
    ],
    ['a smaller device', ['ip link set one mtu 1420'], '18 1420 10.1.0.2'],
    ['a larger device', ['ip link set one mtu 3000'], '18 3000 10.1.0.2'],
    ['the device as it was', ['ip link set one mtu 1500'], '18 1500 10.1.0.2'],
    ['a blackhole', ['ip route replace blackhole 10.9.0.0/24'], /no route.*EINVAL/],
    ['unreachable', ['ip route replace unreachable 10.9.0.0/24'], /no route.*EHOSTUNREACH/],
    ['that is gone', ['ip route del unreachable 10.9.0.0/24'], '27 1500 10.2.0.2'],
    [
      'two paths, of which the kernel takes one',
      ['ip route add 10.9.0.0/24 nexthop via 10.1.0.7 nexthop via 10.2.0.8'],
      /^(17 1500 10.1.0.2|28 1500 10.2.0.2)$/,
    ],
    ['one of the two is left', ['ip route replace 10.9.0.0/24 nexthop via 10.2.0.8'], '28 1500 10.2.0.2'],
    [
      'a next hop object',
      ['ip nexthop add id 7 via 10.1.0.7 dev one', 'ip route replace 10.9.0.0/24 nhid 7'],
      '17 1500 10.1.0.2',
    ],
    ['another in its place', ['ip nexthop replace id 7 via 10.1.0.8 dev one'], '18 1500 10.1.0.2'],
    ['a table that nobody looks at', ['ip route add 10.9.0.0/24 via 10.2.0.8 table 100'], '18 1500 10.1.0.2'],
    ['a rule', ['ip rule add to 10.9.0.0/24 table 100'], '28 1500 10.2.0.2'],
    ['no rule', ['ip rule del to 10.9.0.0/24 table 100'], '18 1500 10.1.0.2'],
    [
      'a gateway that has moved',
      ['ip neigh replace 10.1.0.8 lladdr 02:00:00:00:00:19 dev one nud permanent'],
      '19 1500 10.1.0.2',
    ],
    ['its device is down', ['ip link set one down'], '27 1500 10.2.0.2'],
    ['all devices are down', ['ip link set two down'], /no route/],
  ])
  steps(near, [
    ['a device that is down is no way', [], /no route|is down/],
    [
      'it is up again',
      [
        'ip link set one up',
        'ip link set two up',
        ...devices.flatMap(([device, net]) => [
          `ip -6 addr replace fd00:${net}::2/64 dev ${device} nodad`,
          ...neighbours(device, net),
        ]),
      ],
      '17 1500 10.1.0.2',
    ],
  ])
  steps(far6, [
    ['no route', [], /no route/],
    ['a gateway', ['ip -6 route add fd00:9::/64 via fd00:1::7'], '17 1500 fd00:1::2'],
    ['another gateway', ['ip -6 route replace fd00:9::/64 via fd00:1::8'], '18 1500 fd00:1::2'],
    ['another device', ['ip -6 route replace fd00:9::/64 via fd00:2::7'], '27 1500 fd00:2::2'],
    ['an MTU', ['ip -6 route replace fd00:9::/64 via fd00:2::7 mtu 1400'], '27 1400 fd00:2::2'],
    ['no MTU', ['ip -6 route replace fd00:9::/64 via fd00:2::7'], '27 1500 fd00:2::2'],
    ['a smaller device', ['ip link set two mtu 1420'], '27 1420 fd00:2::2'],
    ['a larger device', ['ip link set two mtu 1500'], '27 1500 fd00:2::2'],
    [
      'a source',
      [
        'ip -6 addr add fd00:2::3/64 dev two nodad',
        'ip -6 route replace fd00:9::/64 via fd00:2::7 src fd00:2::3',
      ],
      '27 1500 fd00:2::3',
    ],
    ['a blackhole', ['ip -6 route replace blackhole fd00:9::/64 metric 5'], /no route.*EINVAL/],
    ['that is gone', ['ip -6 route del blackhole fd00:9::/64 metric 5'], '27 1500 fd00:2::3'],
    [
      'a table that nobody looks at',
      ['ip -6 route add fd00:9::/64 via fd00:1::7 table 100'],
      '27 1500 fd00:2::3',
    ],
    ['a rule', ['ip -6 rule add to fd00:9::/64 table 100'], '17 1500 fd00:1::2'],
    ['none', ['ip -6 rule del to fd00:9::/64 table 100'], '27 1500 fd00:2::3'],
    ['none at all', ['ip -6 route del fd00:9::/64'], /no route/],
  ])
  t.test('each change of the way was said to be one', async t => {
    t.ok(paths.filter(address => address === far4.address).length >= 20)
    t.ok(paths.filter(address => address === far6.address).length >= 9)
  })
}
