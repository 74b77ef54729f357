/** Every tunnel and family: what is on the wire on every leg, and what comes out of it. */
import t from 'tap'
import { complaintsAbout } from '../fixtures/pcap.js'
import {
  allCases,
  ECHO_PORT,
  openRoutedSite,
  overhead,
  reconfigure,
  type TunnelCase,
  tunnelConfig,
} from '../fixtures/routed-site.js'
import { send } from '../fixtures/scapy.js'
import { ask, fetchNames, inUrl, skip } from '../fixtures/site.js'
import { captureLegs, judgeFrames } from '../fixtures/tunnel-frames.js'

const MTU = 1500
const NODE = { 4: '10.2.0.2', 6: 'fd00:2::2' } as const
const PREFIX = { 4: '10.2.64.0/18', 6: 'fd00:2:99::/64' } as const

/** Datagrams that differ in all that an outer header depends on, some of a flow twice; the longest just fits. */
const datagrams = ({ vip, inner, outer, tunnel }: TunnelCase): string[] => {
  const udp = (at: number, bytes: number, more = '') =>
    `UDP(sport=${20000 + at},dport=${ECHO_PORT}${more})/Raw(bytes(range(256))[:${bytes}]*${bytes > 256 ? '6' : '1'})`
  const longest = MTU - overhead(tunnel, outer) - (inner === 4 ? 28 : 48)
  const exactly = `UDP(sport=20090,dport=${ECHO_PORT})/Raw(b"z"*${longest})`
  const v4 = (more: string) => `IP(src="10.1.0.1",dst="${vip}"${more})`
  const v6 = (more: string) => `IPv6(src="fd00:1::1",dst="${vip}"${more})`
  const some =
    inner === 4
      ? [
          `${v4(',tos=0xb9,flags="DF"')}/${udp(1, 33)}`,
          `${v4(',tos=0x03,ttl=5,id=77')}/${udp(2, 0)}`,
          `${v4(',id=78')}/${udp(3, 1, ',chksum=0')}`,
          `${v4(',options=[IPOption(b"\\x01\\x01\\x01\\x00")]')}/${udp(4, 200)}`,
          `${v4(',flags="DF"')}/${exactly}`,
        ]
      : [
          `${v6(',tc=0xb9,fl=0x12345')}/${udp(1, 33)}`,
          `${v6(',tc=3,hlim=5')}/${udp(2, 0)}`,
          `${v6('')}/IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\\0"*4)])/${udp(3, 1)}`,
          `${v6('')}/${exactly}`,
        ]
  return [...some, ...some]
}

t.test('each tunnel, each mix of families, with the node as its source', { skip }, async t => {
  const { lab, daemon } = await openRoutedSite(t, { vips: allCases.map(({ vip }) => vip) })
  const [client, access] = lab.links.get('lan')!

  const talk = async (cases: readonly TunnelCase[]) => {
    await send(client, access, cases.flatMap(datagrams))
    const vips = cases.map(({ vip }) => vip)
    const names = await Promise.all(
      vips.map(async vip => new Set(await fetchNames(lab.client, inUrl(vip), 8))),
    )
    const answers = JSON.parse(await ask(lab.client, 'udp-ask', vips.join(','), ECHO_PORT, 8, 33)) as string[]
    return cases.map(({ name }, i) => ({
      name,
      http: [...names[i]!].sort(),
      udp: [...new Set(answers.slice(8 * i, 8 * i + 8))].sort(),
    }))
  }

  const capture = await captureLegs(lab)
  const answers = await talk(allCases)
  const files = await capture.end()
  const judged = await judgeFrames(lab, files, allCases, NODE)
  for (const one of allCases) {
    const { name, outer, tunnel } = one
    const sent = 8 + 8 + new Set(datagrams(one)).size
    await t.test(name, async t => {
      const { http, udp } = answers.find(answer => answer.name === name)!
      for (const name of [...http, ...udp]) t.match(name, /^b[12]$/, 'nginx and the UDP echo answer')
      const { packets, flows, direct, byBalancer, values, differences } = judged[name]!
      t.same(differences, [], 'every frame on every leg is as scapy builds it')
      t.ok(packets > 60 && flows >= sent, `${packets} packets of ${flows} flows, ${sent} at least`)
      t.ok(direct > 40, `${direct} answers go from the rack to the edge`)
      t.equal(byBalancer, 0, 'and none by the balancer')
      t.equal(values.source, 1)
      t.equal(values.destination, 2, 'of both backends')
      if (outer === 6) t.ok(values.label! > 10, 'flow labels differ')
      if (tunnel.startsWith('gue')) t.ok(values.port! > 10, 'source ports differ')
    })
  }
  await t.test('tshark finds nothing malformed and no wrong checksum', async t => {
    for (const [leg, file] of Object.entries(files)) t.same(complaintsAbout(file), [], leg)
  })

  await t.test('a source of each flow, out of a prefix', async t => {
    const cases = allCases.filter(({ name }) => /^(ipip|gue)-(4in4|6in6|4in6)$/.test(name))
    const sources = Object.values(PREFIX)
    await lab.routers.core.ip(`route add ${PREFIX[4]} via 10.2.0.2`, `route add ${PREFIX[6]} via fd00:2::2`)
    await reconfigure(daemon, { ...tunnelConfig(lab, cases), 'tunnel-source': sources })
    const capture = await captureLegs(lab)
    await talk(cases)
    const judged = await judgeFrames(lab, await capture.end(), cases, PREFIX)
    for (const { name } of cases) {
      const { differences, values } = judged[name]!
      t.same(differences, [], name)
      t.ok(values.source! > 10, `${name}: ${values.source} sources`)
    }
  })

  await t.test('all of it is counted, and nothing was dropped', async t => {
    const { verdicts } = await daemon.ready()
    const counted = Object.entries(verdicts).filter(([, { packets }]) => packets !== '0')
    t.same(
      counted
        .map(([name]) => name)
        .filter(name => /^(DROP|TX|REDIRECT)/.test(name))
        .sort(),
      ['REDIRECT_GRE', 'REDIRECT_GUE', 'REDIRECT_IPIP'],
    )
  })
})
