import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parseConfig } from '../src/config.js'
import { createExplainer, type Explanation, parseFrame, runExplain } from '../src/explain.js'
import { ringView } from '../src/ring-view.js'
import { hex } from './fixtures/bytes.js'
import { frame, ipv4, ipv6 } from './fixtures/frames.js'
import { ifindexOf, run, vethPair } from './fixtures/host.js'
import { inOwnNamespaces } from './fixtures/native.js'
import { tcp, tcpFlags, udp } from './fixtures/transport.js'

const STAND_IN = '02:00:00:00:00:fe'
const to = '02:00:00:00:00:02'
const from = '02:00:00:00:00:01'
const macOf = (n: number): string => `02:00:00:00:00:0${n}`

const web = {
  vip: '192.0.2.10',
  port: 80,
  protocol: 'tcp',
  backends: [
    { name: 'b1', address: '10.0.0.11', mac: macOf(1) },
    { name: 'b2', address: '10.0.0.12', mac: macOf(2), weight: 2 },
    { name: 'off', address: '10.0.0.13', mac: macOf(3), weight: 0 },
  ],
}
const text = (services: object, changes: object = {}): string =>
  JSON.stringify({ interfaces: ['nic0'], services, ...changes })

const explainer = async (t: Test, services: object, changes: object = {}, interfaceName?: string) => {
  const made = await createExplainer(parseConfig(text(services, changes)).config, interfaceName)
  t.teardown(() => made.close())
  return made
}
const syn = (port: number, ether: object = {}): Uint8Array =>
  frame(
    { to, from, ...ether },
    ipv4({ from: '198.51.100.7', to: '192.0.2.10' }, tcp({ from: port, to: 80, flags: tcpFlags.SYN })),
  )

if (inOwnNamespaces(t, import.meta.url)) {
  t.test('a service leaves by the entry interface, its MAC addresses rewritten and nothing else', async t => {
    const { explain } = await explainer(t, { web })
    for (let port = 1000; port < 1020; port++) {
      const answer = await explain(syn(port))
      t.match(answer, { verdict: 'TX_DR', action: 'TX', service: 'web', backend: /^b[12]$/ })
      const mac = macOf(answer.backend === 'b1' ? 1 : 2)
      t.equal(answer.packet, hex(syn(port, { to: mac, from: STAND_IN })))
    }
  })

  t.test('a reply is of its backend and its service; frames follow one another', async t => {
    const pool = { 'local-addresses': '10.1.0.100', 'local-ports': '2000-2001' }
    const backends = [{ name: 'b1', address: '10.0.0.11', port: 8080, mac: macOf(1) }]
    const { explain } = await explainer(t, { web: { ...web, forward: 'fullnat', backends } }, pool)
    const segment = (fields: { from: string; to: string }, ports: Parameters<typeof tcp>[0]): Uint8Array =>
      frame({ to, from }, ipv4(fields, tcp(ports)))
    const answer = (port: number) =>
      segment(
        { from: '10.0.0.11', to: '10.1.0.100' },
        { from: 8080, to: port, flags: tcpFlags.SYN | tcpFlags.ACK },
      )

    t.match(await explain(answer(2000)), { verdict: 'PASS_NOT_A_SERVICE' })
    const midway = segment({ from: '198.51.100.7', to: web.vip }, { from: 999, to: 80, flags: tcpFlags.ACK })
    t.match(await explain(midway), { verdict: 'TX_NO_CONNECTION', reason: /no connection/ })
    const [first, second] = [await explain(syn(1000)), await explain(syn(1001))]
    for (const one of [first, second])
      t.match(one, { verdict: 'TX_FULLNAT', action: 'TX', service: 'web', backend: 'b1' })
    t.match(await explain(syn(1002)), { verdict: 'TX_EXHAUSTED', reason: /no local port/ })
    const port = Number.parseInt(first.packet!.slice(68, 72), 16)
    t.ok([2000, 2001].includes(port), String(port))
    t.match(await explain(answer(port)), { verdict: 'TX_FULLNAT_REPLY', service: 'web', backend: 'b1' })
  })

  t.test('NAT: requests are explained, and replies by whom they are of', async t => {
    const { explain } = await explainer(t, {
      web: {
        ...web,
        forward: 'nat',
        backends: [{ name: 'b1', address: '10.0.0.11', port: 8080, mac: macOf(1) }],
      },
    })
    t.match(await explain(syn(1000)), { verdict: 'TX_NAT', service: 'web', backend: 'b1' })
    const reply = ipv4(
      { from: '10.0.0.11', to: '198.51.100.7' },
      tcp({ from: 8080, to: 1000, flags: tcpFlags.SYN | tcpFlags.ACK }),
    )
    t.match(
      await explain(frame({ to, from }, reply)),
      { verdict: 'DROP_NO_NEXT_HOP' },
      'no route to the client here',
    )
  })

  t.test('flows fall on the backends as the ring has them', async t => {
    const { explain } = await explainer(t, { web })
    const counts: Record<string, number> = {}
    for (let port = 1; port <= 3000; port++) {
      const { backend } = await explain(syn(port))
      counts[backend!] = (counts[backend!] ?? 0) + 1
    }
    const { backends } = ringView(parseConfig(text({ web })).config, 'web')
    t.same(Object.keys(counts).sort(), ['b1', 'b2'])
    for (const { backend, actual } of backends)
      t.ok(Math.abs((counts[backend] ?? 0) / 3000 - actual) < 0.05, backend)
  })

  t.test('without a seed the answers repeat; another seed gives others', async t => {
    const answers = async (changes: object): Promise<string> => {
      const { explain } = await explainer(t, { web }, changes)
      const backends: (string | null)[] = []
      for (let port = 1; port <= 64; port++) backends.push((await explain(syn(port))).backend)
      return backends.join()
    }
    const unseeded = await answers({})
    t.equal(await answers({}), unseeded)
    t.equal(await answers({ seed: '0'.repeat(32) }), unseeded)
    t.not(await answers({ seed: '1'.repeat(32) }), unseeded)
  })

  t.test("the host's own traffic is passed as it is, whatever its destination MAC address", async t => {
    const { explain } = await explainer(t, { web })
    const other = frame(
      { to: 'ff:ff:ff:ff:ff:ff', from },
      ipv4({ from: '198.51.100.7', to: '192.0.2.99' }, udp({ from: 1, to: 53 })),
    )
    t.same(await explain(other), {
      verdict: 'PASS_NOT_A_SERVICE',
      action: 'PASS',
      service: null,
      backend: null,
      packet: hex(other),
    })
  })

  t.test('an unresolved backend is the next-hop verdict, with its name', async t => {
    const { explain } = await explainer(t, {
      web: { ...web, backends: [{ name: 'lost', address: '10.0.0.99' }] },
    })
    t.same(await explain(syn(1)), {
      verdict: 'DROP_NO_NEXT_HOP',
      action: 'DROP',
      service: 'web',
      backend: 'lost',
      packet: null,
    })
  })

  t.test('no backend, IPv6: the answer goes out, at any rate', async t => {
    const v6 = { ...web, vip: '2001:db8::10', protocol: 'udp', backends: [] }
    const { explain } = await explainer(t, { v6 })
    const query = frame(
      { to, from },
      ipv6({ from: '2001:db8:1::7', to: '2001:db8::10' }, udp({ from: 1000, to: 80 })),
    )
    const answers: Explanation[] = []
    for (let i = 0; i < 3000; i++) answers.push(await explain(query))
    t.ok(
      answers.every(
        ({ verdict, backend, packet }) =>
          verdict === 'TX_REJECT_UNREACHABLE' && backend === null && packet !== null,
      ),
    )
  })

  t.test('a real interface lends its MAC address; routes and neighbours of this host are used', async t => {
    vethPair(t, 'nic0', 'peer0')
    vethPair(t, 'nic1', 'peer1')
    run('ip link set nic0 address 02:00:00:00:0a:00')
    run('ip link set nic1 address 02:00:00:00:0a:01')
    run('ip addr add 10.0.0.1/24 dev nic0')
    run('ip addr add 10.1.0.1/24 dev nic1')
    run('ip neigh add 10.1.0.5 lladdr 02:00:00:00:0b:05 dev nic1')
    const one = (backend: object) => ({ web: { ...web, backends: [backend] } })

    const near = await explainer(t, one({ name: 'near', address: '10.0.0.5', mac: macOf(5) }))
    t.match(await near.explain(syn(1)), {
      verdict: 'TX_DR',
      packet: hex(syn(1, { to: macOf(5), from: '02:00:00:00:0a:00' })),
    })
    const far = await explainer(t, one({ name: 'far', address: '10.1.0.5' }))
    t.match(await far.explain(syn(1)), {
      verdict: 'REDIRECT_DR',
      action: 'REDIRECT',
      packet: hex(syn(1, { to: '02:00:00:00:0b:05', from: '02:00:00:00:0a:01' })),
    })
    const entered = await explainer(t, one({ name: 'far', address: '10.1.0.5' }), {}, 'nic1')
    t.match(await entered.explain(syn(1)), { verdict: 'TX_DR' })
    t.ok(ifindexOf('nic0') > 0)
  })

  t.test('a tunnel is told with its addresses, its headers and the room on its path', async t => {
    const tunnelled = (forward: unknown, changes: object = {}) => ({
      web: {
        ...web,
        forward,
        'tunnel-source': ['10.9.0.1', '2001:db8:9::1'],
        backends: [web.backends[0]],
        ...changes,
      },
    })
    const told = async (services: object) => (await explainer(t, services)).explain(syn(1000))
    t.match(await told(tunnelled('ipip')), {
      verdict: 'TX_IPIP',
      backend: 'b1',
      encapsulation: {
        mode: 'ipip',
        source: '10.9.0.1',
        destination: '10.0.0.11',
        sourcePort: null,
        port: null,
        variant: null,
        key: null,
        packet: 40,
        headers: 20,
        total: 60,
        mtu: 1500,
      },
    })
    t.match((await told(tunnelled({ mode: 'gre', key: 7 }))).encapsulation, {
      key: 7,
      headers: 28,
      total: 68,
    })
    const gue = (
      await told(
        tunnelled(
          { mode: 'gue', port: 5555 },
          { backends: [{ ...web.backends[0], address: '2001:db8::11' }] },
        ),
      )
    ).encapsulation!
    t.match(gue, {
      source: '2001:db8:9::1',
      destination: '2001:db8::11',
      port: 5555,
      variant: 0,
      headers: 52,
    })
    t.ok(gue.sourcePort! >= 0xc000)
    const direct = await told({ web })
    t.same(Object.keys(direct), ['verdict', 'action', 'service', 'backend', 'packet'])
  })

  t.test('why a packet does not fit is told in bytes', async t => {
    const { explain } = await explainer(t, {
      web: {
        ...web,
        forward: 'ipip',
        'tunnel-source': '10.9.0.1',
        ping: 'drop',
        backends: [web.backends[0]],
      },
    })
    const sized = (bytes: number, options: object = {}) =>
      frame(
        { to, from },
        ipv4(
          { from: '198.51.100.7', to: '192.0.2.10', ...options },
          tcp({ from: 1, to: 80, flags: tcpFlags.ACK }, new Uint8Array(bytes - 40)),
        ),
      )
    t.match(await explain(sized(1480, { dontFragment: true })), { verdict: 'TX_IPIP' })
    t.match(await explain(sized(1481, { dontFragment: true })), {
      verdict: 'TX_TOO_BIG',
      service: 'web',
      backend: 'b1',
      reason: "1481 + 20 of ipip = 1501 bytes, more than the path's MTU of 1500: the client is told 1480",
    })
    t.match(await explain(sized(1481)), { verdict: 'DROP_TOO_BIG', reason: /nobody is to be told: no DF/ })
    t.match(await explain(sized(2000, { dontFragment: true })), {
      verdict: 'DROP_AGGREGATED',
      reason: '2000 bytes, more than the MTU of 1500 where it came in: several packets merged (GRO, LRO)',
    })
    const lost = await explainer(t, { web: { ...web, forward: 'ipip', backends: [web.backends[0]] } })
    t.match(await lost.explain(sized(100)), {
      verdict: 'DROP_NO_NEXT_HOP',
      reason: 'the route to 10.0.0.11 names no source address: give tunnel-source',
    })
  })

  t.test('bad lines are answered in their place, and the exit says so', async t => {
    const directory = mkdtempSync(join(tmpdir(), 'linimo-explain-'))
    t.teardown(() => rmSync(directory, { recursive: true }))
    const configPath = join(directory, 'linimo.yaml')
    const packetsPath = join(directory, 'packets')
    writeFileSync(configPath, text({ web }))
    writeFileSync(
      packetsPath,
      [hex(syn(1)), 'xyz', '', '00'.repeat(13), hex(syn(1)).toUpperCase()].join('\n'),
    )
    let out = ''
    const sink = { write: (piece: string) => (out += piece) }
    const ask = (options: object) =>
      runExplain(
        { configPath, interfaceName: undefined, packet: undefined, packetsPath: undefined, ...options },
        sink,
        { write: () => {} },
      )
    t.equal(await ask({ packetsPath }), 1)
    const lines = out
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as Record<string, unknown>)
    t.match(lines, [
      { verdict: 'TX_DR' },
      { line: 2, error: /hex/ },
      { line: 4, error: /13 bytes/ },
      { verdict: 'TX_DR' },
    ])
    t.equal(lines.length, 4)
    out = ''
    t.equal(await ask({ packet: hex(syn(1)) }), 0)
    t.same(JSON.parse(out), lines[0])
  })

  t.test('a frame that the kernel does not take is an error of its own', async t => {
    const { explain } = await explainer(t, { web })
    await t.rejects(explain(new Uint8Array(1 << 20)), { code: /^E/ })
    t.match(await explain(syn(1)), { verdict: 'TX_DR' })
  })
}

t.test('hex may have separators and a prefix', async t => {
  const bytes = parseFrame('0x00:01:02 03040506 0708090a0b0c0d')
  t.same(
    bytes,
    Uint8Array.from({ length: 14 }, (_, i) => i),
  )
  t.throws(() => parseFrame('0g'.repeat(14)), { code: 'ERR_PACKET' })
})
