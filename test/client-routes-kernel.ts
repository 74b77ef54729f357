/** The ways back to clients, of the real kernel's routes, and by its events. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { clientRouteText } from '../src/client-routes.js'
import { createClientRoutes } from '../src/client-routes-followed.js'
import type { ClientRoute } from '../src/dataplane/tables.js'
import { systemClock } from '../src/health/clock.js'
import { createNextHops } from '../src/next-hops.js'
import { keepLog } from './control/fixtures/daemon.js'
import { ifindexOf, otherNamespace, run, until, vethPair } from './fixtures/host.js'
import { inOwnNamespaces, native } from './fixtures/native.js'

const devices = [
  ['one', 1],
  ['two', 2],
] as const

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
  const interfaces = new Map<number, string>(devices.map(([device]) => [ifindexOf(device), device]))
  const put = new Map<4 | 6, readonly ClientRoute[]>()
  const netlink = new native.Netlink()
  const nextHops = await createNextHops({
    netlink,
    entry: links => links[0],
    onChange: () => {},
    log: keepLog(),
    probe: true,
  })
  t.teardown(() => nextHops.close())
  const routes = createClientRoutes({
    netlink,
    nextHops,
    put: async (family, all) => void put.set(family, all),
    clock: systemClock,
    log: keepLog(),
  })
  t.teardown(() => routes.close())
  await routes.use(true)

  /** "0.0.0.0/0 17 one 1500", "10.1.0.0/24 kernel"; the first of all is that of the longest prefix. */
  const wordOf = (route: ClientRoute): string => {
    if (route.nextHop === null) return clientRouteText(route)
    const { mac, ifindex, mtu } = route.nextHop
    const [prefix] = clientRouteText(route).split(' ')
    return `${prefix} ${mac.at(-1)!.toString(16)} ${interfaces.get(ifindex)} ${mtu}`
  }
  const tableOf = (family: 4 | 6): string => (put.get(family) ?? []).map(wordOf).join(', ')

  const becomes = async (family: 4 | 6, wanted: string): Promise<string> => {
    await until(wanted, () => tableOf(family) === wanted).catch(() => {})
    return tableOf(family)
  }
  const steps = (
    family: 4 | 6,
    all: readonly (readonly [title: string, commands: readonly string[], wanted: readonly string[]])[],
  ) => {
    for (const [title, commands, wanted] of all)
      t.test(`IPv${family}: ${title}`, async t => {
        await sleep(60)
        for (const command of commands) run(command)
        t.equal(await becomes(family, wanted.join(', ')), wanted.join(', '))
      })
  }
  const near4 = ['10.1.0.0/24 kernel', '10.2.0.0/24 kernel']
  const _near6 = ['fd00:1::/64 kernel', 'fd00:2::/64 kernel']

  const near6 = ['fd00:1::/64 kernel', 'fd00:2::/64 kernel']

  steps(4, [
    ['networks on the link, and nothing else', [], [...near4, '0.0.0.0/0 none']],
    ['a gateway', ['ip route add default via 10.1.0.7'], [...near4, '0.0.0.0/0 17 one 1500']],
    [
      'client networks behind other gateways, of several lengths',
      [
        'ip route add 10.9.0.0/16 via 10.1.0.8',
        'ip route add 10.9.5.0/24 via 10.2.0.7 mtu 1400',
        'ip route add 10.9.9.0/24 via 10.2.0.8',
      ],
      [
        ...near4,
        '10.9.5.0/24 27 two 1400',
        '10.9.9.0/24 28 two 1500',
        '10.9.0.0/16 18 one 1500',
        '0.0.0.0/0 17 one 1500',
      ],
    ],
    [
      'what says the same as what covers it is left out',
      ['ip route replace 10.9.9.0/24 via 10.1.0.8', 'ip route replace 10.9.5.0/24 via 10.1.0.8'],
      [...near4, '10.9.0.0/16 18 one 1500', '0.0.0.0/0 17 one 1500'],
    ],
    [
      'a host of the network on the link behind a gateway',
      [
        'ip route add 10.1.0.99 via 10.2.0.7',
        'ip route del 10.9.0.0/16',
        'ip route del 10.9.5.0/24',
        'ip route del 10.9.9.0/24',
      ],
      ['10.1.0.99/32 27 two 1500', ...near4, '0.0.0.0/0 17 one 1500'],
    ],
    [
      "the host's own address beyond its links",
      ['ip route del 10.1.0.99', 'ip addr add 192.0.2.1/32 dev lo', 'ip route add local 10.77.0.0/28 dev lo'],
      ['192.0.2.1/32 local', '10.77.0.0/28 local', ...near4, '0.0.0.0/0 17 one 1500'],
    ],
    [
      'several gateways',
      [
        'ip addr del 192.0.2.1/32 dev lo',
        'ip route del local 10.77.0.0/28 dev lo',
        'ip route replace 10.9.0.0/16 nexthop via 10.1.0.7 nexthop via 10.2.0.7',
      ],
      [...near4, '10.9.0.0/16 kernel', '0.0.0.0/0 17 one 1500'],
    ],
    [
      'what is refused',
      [
        'ip route replace blackhole 10.9.0.0/16',
        'ip route add unreachable 10.8.0.0/16',
        'ip route add prohibit 10.7.0.0/16',
      ],
      [...near4, '10.7.0.0/16 none', '10.8.0.0/16 none', '10.9.0.0/16 none', '0.0.0.0/0 17 one 1500'],
    ],
    [
      'a better metric',
      [
        'ip route del 10.9.0.0/16',
        'ip route del 10.8.0.0/16',
        'ip route del 10.7.0.0/16',
        'ip route add 10.9.0.0/16 via 10.2.0.7 metric 20',
        'ip route add 10.9.0.0/16 via 10.1.0.8 metric 10',
      ],
      [...near4, '10.9.0.0/16 18 one 1500', '0.0.0.0/0 17 one 1500'],
    ],
    [
      'the worse one is left',
      ['ip route del 10.9.0.0/16 metric 10'],
      [...near4, '10.9.0.0/16 27 two 1500', '0.0.0.0/0 17 one 1500'],
    ],
    [
      'by type of service',
      ['ip route add 10.9.0.0/16 tos 0x10 via 10.1.0.7 metric 20'],
      [...near4, '10.9.0.0/16 kernel', '0.0.0.0/0 17 one 1500'],
    ],
    [
      'a gateway of the other family',
      ['ip route flush 10.9.0.0/16', 'ip route add 10.9.0.0/16 via inet6 fd00:2::8 dev two'],
      [...near4, '10.9.0.0/16 28 two 1500', '0.0.0.0/0 17 one 1500'],
    ],
    [
      'a next hop object',
      ['ip nexthop add id 7 via 10.1.0.8 dev one', 'ip route replace 10.9.0.0/16 nhid 7'],
      [...near4, '10.9.0.0/16 18 one 1500', '0.0.0.0/0 17 one 1500'],
    ],
    [
      'another in its place',
      ['ip nexthop replace id 7 via 10.2.0.8 dev two'],
      [...near4, '10.9.0.0/16 28 two 1500', '0.0.0.0/0 17 one 1500'],
    ],
    [
      'a smaller device',
      ['ip route del 10.9.0.0/16', 'ip link set one mtu 1400'],
      [...near4, '0.0.0.0/0 17 one 1400'],
    ],
    [
      'a gateway that has moved',
      [
        'ip link set one mtu 1500',
        'ip neigh replace 10.1.0.7 lladdr 02:00:00:00:00:19 dev one nud permanent',
      ],
      [...near4, '0.0.0.0/0 19 one 1500'],
    ],
    [
      'a table that nobody looks at',
      ['ip route add 10.9.0.0/16 via 10.2.0.7 table 100'],
      [...near4, '0.0.0.0/0 19 one 1500'],
    ],
    ['a rule: the kernel is asked for all', ['ip rule add to 10.9.0.0/16 table 100'], ['0.0.0.0/0 kernel']],
    ['no rule', ['ip rule del to 10.9.0.0/16 table 100'], [...near4, '0.0.0.0/0 19 one 1500']],
    [
      'more than there is room for: those closest together are left to the kernel',
      Array.from({ length: 40 }, (_, i) => `ip addr add 192.0.2.${2 * i + 1}/32 dev lo`),
      [
        ...Array.from({ length: 20 }, (_, i) => `192.0.2.${4 * i}/30 kernel`),
        ...near4,
        '0.0.0.0/0 19 one 1500',
      ],
    ],
    [
      'there is room again',
      Array.from({ length: 39 }, (_, i) => `ip addr del 192.0.2.${2 * i + 3}/32 dev lo`),
      ['192.0.2.1/32 local', ...near4, '0.0.0.0/0 19 one 1500'],
    ],
    [
      'its device is down',
      ['ip link set one down'],
      ['10.1.0.2/32 local', '192.0.2.1/32 local', '10.2.0.0/24 kernel', '0.0.0.0/0 none'],
    ],
  ])

  steps(6, [
    [
      'networks on the link, and nothing else',
      ['ip link set one up', 'ip -6 addr replace fd00:1::2/64 dev one nodad', ...neighbours('one', 1)],
      [...near6, '::/0 none'],
    ],
    ['a gateway', ['ip -6 route add default via fd00:1::7'], [...near6, '::/0 17 one 1500']],
    [
      'client networks behind other gateways',
      ['ip -6 route add fd00:9::/48 via fd00:1::8 mtu 1400', 'ip -6 route add fd00:9:0:5::/64 via fd00:2::7'],
      [...near6, 'fd00:9:0:5::/64 27 two 1500', 'fd00:9::/48 18 one 1400', '::/0 17 one 1500'],
    ],
    [
      'several gateways',
      [
        'ip -6 route replace fd00:9::/48 nexthop via fd00:1::7 nexthop via fd00:2::7',
        'ip -6 route del fd00:9:0:5::/64',
        'ip -6 route add unreachable fd00:9:0:5::/64',
      ],
      // What is refused within is said by the kernel too.
      [...near6, 'fd00:9::/48 kernel', '::/0 17 one 1500'],
    ],
    [
      "the host's own address beyond its links",
      [
        'ip -6 route flush fd00:9::/48',
        'ip -6 route flush fd00:9:0:5::/64',
        'ip -6 addr add 2001:db8::1/128 dev lo nodad',
      ],
      ['2001:db8::1/128 local', ...near6, '::/0 17 one 1500'],
    ],
    ['by source', ['ip -6 route add fd00:9::/48 from fd00:8::/48 via fd00:1::7'], ['::/0 kernel']],
    ['a rule', ['ip -6 route flush fd00:9::/48', 'ip -6 rule add to fd00:9::/48 table 100'], ['::/0 kernel']],
    [
      'no rule',
      ['ip -6 rule del to fd00:9::/48 table 100'],
      ['2001:db8::1/128 local', ...near6, '::/0 17 one 1500'],
    ],
  ])

  t.test('a gateway that nobody knows is asked for, and asked again when its entry goes', async t => {
    const other = await otherNamespace(t)
    run('ip link add three type veth peer name four')
    t.teardown(() => run('ip link delete three'))
    run(`ip link set four netns ${other.pid}`)
    other.run('ip link set four address 02:00:00:00:00:34')
    other.run('ip addr add 10.3.0.7/24 dev four')
    run('ip addr add 10.3.0.2/24 dev three')
    other.run('ip link set four up')
    run('ip link set three up')
    interfaces.set(ifindexOf('three'), 'three')
    run('ip route add 10.9.0.0/16 via 10.3.0.7')
    const isKnown = (): boolean => tableOf(4).includes('10.9.0.0/16 34 three 1500')
    await until('the gateway has answered', isKnown)
    run('ip neigh del 10.3.0.7 dev three')
    await until('the gateway was asked again', () =>
      run('ip neigh show 10.3.0.7').includes('02:00:00:00:00:34'),
    )
    t.ok(isKnown())
    run('ip route del 10.9.0.0/16')
  })
}
