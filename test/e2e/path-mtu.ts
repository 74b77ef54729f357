/** 20 MB both ways whatever the path takes: with MTU 1500 everywhere, and with a hop of 1400 on either side. */
import t, { type Test } from 'tap'
import type { Daemon } from '../../src/lab/daemon.js'
import type { RoutedLab } from '../../src/lab/routed.js'
import { download, makeFile, upload } from '../../src/lab/transfer.js'
import { startCapture } from '../fixtures/capture.js'
import { isTo, offeredMss, readPackets } from '../fixtures/captured-packets.js'
import { countDeviceDrops, grownSince } from '../fixtures/device-drops.js'
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
import { complaintsAbout } from '../fixtures/pcap.js'
import { openRouted, reconfigure } from '../fixtures/routed-site.js'
import { countVerdicts, fetchNames, inUrl, skip, startOn } from '../fixtures/site.js'

const FILE = 'random'
const BYTES = 20 << 20
const MTU = 1500
const NARROW = 1400

/** One direction of a way, and what the client has learnt by it. */
const pass = async (t: Test, lab: RoutedLab, direction: typeof upload, { name, vip }: Way) => {
  await forgetPaths(lab)
  t.match(
    await direction(lab, inUrl(vip), FILE),
    { bytes: BYTES, intact: true },
    `${name}, ${direction.name}`,
  )
}

/** Everything that was not forwarded is told by a verdict, and devices have lost nothing. */
const accounted = async (
  t: Test,
  { lab, daemon }: { lab: RoutedLab; daemon: Daemon },
  verdicts: readonly string[],
  body: () => Promise<void>,
) => {
  const drops = await countDeviceDrops(lab)
  const before = await countVerdicts(daemon)
  await body()
  const after = await countVerdicts(daemon)
  const grown = Object.keys(after).filter(name => after[name] !== (before[name] ?? 0))
  t.same(grown.filter(name => /^DROP_|^TX_(?!DR|IPIP|GRE|GUE)/.test(name)).sort(), verdicts)
  t.same(await grownSince(lab, drops), {}, 'no device has dropped anything')
}

/** The outer destinations of which a router has said that their path takes 1400. */
const narrowPaths = (daemon: Daemon): ReadonlySet<string> => {
  const lines = daemon.running
    .output()
    .stdout.split('\n')
    .filter(line => line.includes('path-mtu.lowered'))
  const told = lines.map(line => JSON.parse(line) as { address: string; mtu: number })
  return new Set(told.filter(({ mtu }) => mtu === NARROW).map(({ address }) => address))
}

t.test('20 MB, whatever the path takes', { skip }, async t => {
  const vips = [...direct, ...tunnelled].map(({ vip }) => vip)
  const lab = await openRouted(t, { vips, isNear: true }, addOwnAddresses)
  makeFile(lab, FILE, BYTES)
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
})
