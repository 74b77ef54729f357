/** 20 MB both ways whatever the path takes: with MTU 1500 everywhere, and with a hop of 1400 on either side. */
import { join } from 'node:path'
import t from 'tap'
import { download, upload } from '../../src/lab/transfer.js'
import { startCapture } from '../fixtures/capture.js'
import { isTo, offeredMss, readPackets } from '../fixtures/captured-packets.js'
import { countDeviceDrops, grownSince } from '../fixtures/device-drops.js'
import { joinBackends, joinFlags } from '../fixtures/joined.js'
import {
  addOwnAddresses,
  CLIENT,
  direct,
  everyWay,
  forgetPaths,
  knownMtu,
  someTunnelled,
  tunnelled,
  type Way,
} from '../fixtures/path-mtu-site.js'
import {
  accounted,
  FILE,
  MTU,
  makeTransferFile,
  NARROW,
  narrowPaths,
  pass,
  untilLearnt,
} from '../fixtures/path-mtu-transfers.js'
import { complaintsAbout } from '../fixtures/pcap.js'
import { openRouted, reconfigure } from '../fixtures/routed-site.js'
import { send } from '../fixtures/scapy.js'
import { countVerdicts, fetchNames, inUrl, skip, startOn } from '../fixtures/site.js'

/** Ways of which no router has said anything so far. */
const briefly = tunnelled.filter(({ name }) => ['ipip-4in6', 'gre-4in4', 'gue-6in6'].includes(name))

/** What a router at the core says of a way to a backend, with as little of the packet as RFC 792 demands. */
const briefError = ({ name, addressOf }: Way, backend: string): string => {
  const to = addressOf(backend)
  const [ip, node, error] = to.includes(':')
    ? (['IPv6', 'fd00:2::', `ICMPv6PacketTooBig(mtu=${NARROW})`] as const)
    : (['IP', '10.2.0.', `ICMP(type=3,code=4,nexthopmtu=${NARROW})`] as const)
  const inside = name.startsWith('gre')
    ? 'GRE()/IP()'
    : name.startsWith('gue')
      ? 'UDP(sport=50000,dport=6080)'
      : 'IP()'
  const quote = `raw(${ip}(src="${node}2",dst="${to}")/${inside}/Raw(b"x"*1300))`
  return `${ip}(src="${node}254",dst="${node}2")/${error}/Raw(${quote}[:${ip === 'IP' ? 28 : 48}])`
}

t.test('20 MB, whatever the path takes', { skip }, async t => {
  const vips = [...direct, ...tunnelled].map(({ vip }) => vip)
  const lab = await openRouted(t, { vips, isNear: true }, addOwnAddresses)
  makeTransferFile(lab)
  const daemon = startOn(lab, everyWay(lab))
  await daemon.ready()
  const site = { lab, daemon }
  const ends = {
    client: lab.links.get('lan')![0],
    ...Object.fromEntries(
      lab.backends.flatMap(host =>
        ['eth0', 'eth1'].map(device => [`${host.name} ${device}`, { host, device }]),
      ),
    ),
  }

  await t.test('MTU 1500 everywhere: clients are told how long their packets may be', t =>
    accounted(t, site, ['TX_TOO_BIG'], async () => {
      for (const way of [...direct, ...tunnelled]) {
        await pass(t, lab, download, way)
        await pass(t, lab, upload, way)
        const told = way.overhead === 0 ? null : MTU - way.overhead
        t.equal(await knownMtu(lab.client, way.vip), told, `${way.name}: told ${told}`)
      }
    }),
  )

  await t.test("a hop of 1400 on the clients' side: its errors reach the backend that answers", async t => {
    await lab.setMtu('wan', NARROW)
    await accounted(t, site, [], async () => {
      for (const way of [...direct, ...someTunnelled]) {
        await pass(t, lab, download, way)
        const client = CLIENT[way.inner]
        const known = await Promise.all(lab.backends.map(backend => knownMtu(backend, client)))
        t.same(
          known.filter(mtu => mtu !== null),
          [NARROW],
          `${way.name}: one backend has been told`,
        )
        await pass(t, lab, upload, way)
        t.equal(await knownMtu(lab.client, way.vip), NARROW)
      }
    })
    await lab.setMtu('wan', MTU)
  })

  await t.test(
    'a hop of 1400 in the path of a tunnel: what its router says is passed on, and learnt',
    async t => {
      await lab.setMtu('mid', NARROW)
      await accounted(t, site, ['TX_TOO_BIG', 'TX_TUNNEL_ERROR'], async () => {
        for (const way of someTunnelled) {
          const told = (await countVerdicts(daemon)).TX_TUNNEL_ERROR ?? 0
          await pass(t, lab, download, way)
          await pass(t, lab, upload, way)
          t.equal(await knownMtu(lab.client, way.vip), NARROW - way.overhead, `${way.name}: told by then`)
          t.ok(
            (await countVerdicts(daemon)).TX_TUNNEL_ERROR! > told,
            `${way.name}: by the router in the path`,
          )
        }
      })
      const isLearnt = () => narrowPaths(daemon).size >= someTunnelled.length
      t.ok(await untilLearnt(isLearnt), 'the balancer itself knows it of each')
    },
  )

  await t.test(
    'a router that quotes no more than 8 bytes: nobody can be told, the balancer learns it',
    async t => {
      const [core, balancer] = lab.links.get('back')!
      await core.host.ip('route add blackhole 10.2.0.2/32', 'route add blackhole fd00:2::2/128')
      await send(
        core,
        balancer,
        briefly.flatMap(way => lab.backends.map(({ name }) => briefError(way, name))),
      )
      const paths = briefly.flatMap(({ addressOf }) => [addressOf('b1'), addressOf('b2')])
      const isLearnt = () => paths.every(path => narrowPaths(daemon).has(path))
      t.ok(await untilLearnt(isLearnt), 'of each path')
      await accounted(t, site, ['TX_TOO_BIG'], async () => {
        for (const way of briefly) {
          await pass(t, lab, upload, way)
          t.equal(await knownMtu(lab.client, way.vip), NARROW - way.overhead, way.name)
        }
      })
      await core.host.ip('route del blackhole 10.2.0.2/32', 'route del blackhole fd00:2::2/128')
    },
  )

  // What a SYN says bounds what the backends send; the client's packets are bounded by their answers, which come by no
  // balancer, and by what it is told.
  await t.test('`mss: clamp`: backends are asked for what the path takes, learnt or not', async t => {
    await lab.setMtu('mid', MTU)
    await reconfigure(daemon, everyWay(lab, { mss: 'clamp' }))
    await accounted(t, site, ['TX_TOO_BIG'], async () => {
      for (const way of tunnelled) await pass(t, lab, upload, way)
    })
    const everyone = [...direct, ...tunnelled]
    await forgetPaths(lab)
    const capture = await startCapture(lab.directory, ends)
    for (const { vip } of everyone) await fetchNames(lab.client, inUrl(vip), 1)
    const files = await capture.end()
    const packets = Object.entries(files).map(([end, file]) => ({ end, packets: readPackets(file) }))
    const narrow = narrowPaths(daemon)
    for (const { name, vip, inner, overhead, addressOf } of everyone) {
      const offered = packets.flatMap(({ end, packets }) =>
        packets
          .filter(packet => isTo(packet, vip))
          .flatMap(packet => offeredMss(packet) ?? [])
          .map(mss => ({ end, mss })),
      )
      const wide = MTU - (inner === 4 ? 40 : 60)
      const backend = offered[1]?.end.slice(0, 2) ?? ''
      const path = narrow.has(addressOf(backend)) ? NARROW - MTU : 0
      t.same(
        offered.map(({ mss }) => mss),
        [wide, wide - overhead + path],
        `${name}: what is asked for, as sent and as received by ${backend}`,
      )
    }
    for (const [end, file] of Object.entries(files)) t.same(complaintsAbout(file), [], end)
  })

  await t.test('direct routing by an interface of MTU 1400', async t => {
    await reconfigure(daemon, everyWay(lab))
    await lab.balancer.ip(`link set eth2 mtu ${NARROW}`)
    await accounted(t, site, ['TX_TOO_BIG'], async () => {
      for (const way of direct) {
        await pass(t, lab, upload, way)
        t.equal(await knownMtu(lab.client, way.vip), NARROW, way.name)
      }
    })
  })

  await t.test(
    'joined without a word about lengths, backends ask for what fits: nobody is told anything',
    async t => {
      await joinBackends(
        lab,
        joinFlags(lab).filter(flag => flag !== '--no-advmss'),
      )
      const narrow = narrowPaths(daemon)
      const wide = tunnelled.filter(
        ({ addressOf }) => !['b1', 'b2'].some(name => narrow.has(addressOf(name))),
      )
      t.ok(wide.length > 5)
      await accounted(t, site, [], async () => {
        for (const way of wide) {
          await pass(t, lab, upload, way)
          t.equal(await knownMtu(lab.client, way.vip), null, way.name)
        }
      })
    },
  )

  await t.test('frames that were merged on their way in are dropped by name', async t => {
    await daemon.stop()
    const generic = startOn(lab, { ...everyWay(lab), xdp: 'generic' }, 'generic')
    await generic.ready()
    const { host, device } = lab.links.get('front')![0]
    await host.run(['ethtool', '-K', 'wan', 'gro', 'on'])
    await host.run(['ethtool', '-K', device, 'tx', 'on', 'tso', 'on'])
    const drops = await countDeviceDrops(lab)
    for (const { vip, name } of [direct[0]!, someTunnelled[0]!]) {
      const before = (await countVerdicts(generic)).DROP_AGGREGATED ?? 0
      const target = `http://${inUrl(vip)}/upload`
      await lab.client.capture(['curl', '-sS', '-m', '2', '-T', join(lab.files, FILE), target])
      t.ok((await countVerdicts(generic)).DROP_AGGREGATED! > before, `${name}: DROP_AGGREGATED`)
    }
    const grown = Object.keys(await grownSince(lab, drops))
    t.same(
      grown.filter(counter => counter.startsWith('balancer')),
      [],
      'its devices have dropped nothing',
    )
    await host.run(['ethtool', '-K', 'wan', 'gro', 'off'])
    await host.run(['ethtool', '-K', device, 'tx', 'off'])
    for (const way of [direct[0]!, someTunnelled[0]!]) await pass(t, lab, upload, way)
  })
})
