/** Whatever the data plane sends, every checksum in it is right: recomputed from the outermost header to the innermost. */
import t from 'tap'
import { concat, hex, u16 } from '../fixtures/bytes.js'
import { CLIENT, CLIENT6, fromClient, instance } from '../fixtures/cases.js'
import { walkChecksums } from '../fixtures/checksum-walk.js'
import { errorKinds, errorTo, familyOf } from '../fixtures/errors.js'
import {
  authentication,
  destinationOptions,
  frame,
  hopByHop,
  ipv4,
  ipv6,
  type Payload,
} from '../fixtures/frames.js'
import { chosenSeed, type Random, seededRandom } from '../fixtures/random.js'
import { entryInterface } from '../fixtures/tables.js'
import { icmp, icmpv6, type Transport, tcp, udp } from '../fixtures/transport.js'
import { tunnelTables, VIPS, variants } from '../fixtures/tunnels.js'

const FRAMES = 20_000
const seed = chosenSeed(20_261_121)
const GUE_PORTS = [6080, 0x1234]

const tables = {
  ...tunnelTables({ clampsMss: true }),
  interfaces: [{ ...entryInterface, mtu: 9000 }],
  vips: VIPS.map(vip => ({ vip, ping: 'answer' as const })),
}
/** Packets to these ports are answered by a reset or unreachable. */
const withoutBackend = new Set([variants[3]!.port, variants[9]!.port])
const services = tables.services.map(service =>
  withoutBackend.has(service.port) ? { ...service, slots: service.slots.map(() => 0) } : service,
)
const dataPlane = await instance(t, { ...tables, services })

const size = (random: Random): number => (random.chance(0.6) ? random.below(100) : random.below(1500))

const transport = (random: Random, vip: string, port: number): Transport => {
  const from = random.below(65536)
  const body = random.bytes(size(random))
  const hasNone = familyOf(vip) === 4 && random.chance(0.2)
  if (random.chance(0.4)) return udp({ from, to: port, ...(hasNone ? { checksum: 0 } : {}) }, body)
  const before = random.pick([[], [1], [1, 1], [4, 2], [3, 3, 7], [1, 3, 3, 9]])
  const options = concat(Uint8Array.from(before), Uint8Array.of(2, 4), u16(random.below(65536)))
  return tcp(
    {
      from,
      to: port,
      seq: random.u32(),
      ack: random.u32(),
      flags: random.pick([2, 2, 16, 18, 24, 17]),
      options,
    },
    body,
  )
}

const packet = (random: Random, vip: string, content: Transport): Payload => {
  if (familyOf(vip) === 4)
    return ipv4(
      {
        from: Uint8Array.of(random.between(1, 126), ...random.bytes(3)),
        to: vip,
        tos: random.below(256),
        ttl: random.below(256),
        id: random.below(65536),
        dontFragment: random.chance(0.7),
        options: random.chance(0.1) ? random.bytes(random.below(41)) : new Uint8Array(0),
      },
      content,
    )
  return ipv6(
    {
      from: concat(Uint8Array.of(0x20), random.bytes(15)),
      to: vip,
      trafficClass: random.below(256),
      flowLabel: random.below(2 ** 20),
      hopLimit: random.below(256),
      extensions: random.chance(0.1)
        ? [random.pick([hopByHop(), destinationOptions(1), authentication()])]
        : [],
    },
    content,
  )
}

const randomFrame = (random: Random): Uint8Array => {
  const vip = random.pick(VIPS)
  const { port } = random.pick(variants)
  const kind = random.below(10)
  const tags = random.chance(0.2) ? [{ tci: random.below(65536) }] : []
  if (kind === 0) {
    const echo =
      familyOf(vip) === 4
        ? icmp({ type: 8, code: 0, rest: random.u32() }, random.bytes(size(random)))
        : icmpv6({ type: 128, code: 0, rest: random.u32() }, random.bytes(size(random)))
    return frame({ ...fromClient, tags }, packet(random, vip, echo))
  }
  if (kind === 1) {
    const client = familyOf(vip) === 4 ? CLIENT : CLIENT6
    const reply = tcp({ from: port, to: random.below(65536) }, random.bytes(size(random)))
    const build = familyOf(vip) === 4 ? ipv4 : ipv6
    return errorTo(
      vip,
      random.pick(errorKinds[familyOf(vip)]),
      build({ from: vip, to: client }, reply).bytes,
      { ethernet: { tags } },
    )
  }
  const built = frame({ ...fromClient, tags, padTo: 60 }, packet(random, vip, transport(random, vip, port)))
  if (kind > 2) return built
  // what the balancer sends comes back as a router's complaint
  const { verdict, packet: outer } = dataPlane.run(
    frame(fromClient, packet(random, vip, transport(random, vip, port))),
  )
  if (!/^TX_(IPIP|GRE|GUE)$/.test(verdict)) return built
  const sent = outer.subarray(14)
  const isOver4 = sent[0]! >> 4 === 4
  const from = isOver4
    ? sent.subarray(12, 16).join('.')
    : (hex(sent.subarray(8, 24)).match(/.{4}/g)?.join(':') ?? '')
  return errorTo(from, random.pick(errorKinds[isOver4 ? 4 : 6]), sent)
}

t.test(
  `every checksum of ${FRAMES} random packets is right when they leave`,
  { timeout: 200_000 },
  async t => {
    t.comment(`LINIMO_SEED=${seed}`)
    const random = seededRandom(seed)
    const verdicts: Record<string, number> = {}
    const checked: Record<string, number> = {}
    for (let n = 0; n < FRAMES; n++) {
      const given = randomFrame(random)
      const { verdict, action, packet: sent } = dataPlane.run(given)
      verdicts[verdict] = (verdicts[verdict] ?? 0) + 1
      if (action !== 'TX') continue
      const walked = walkChecksums(sent, GUE_PORTS)
      const path = walked.checked.join(' ')
      checked[path] = (checked[path] ?? 0) + 1
      if (walked.wrong.length > 0)
        t.fail(`seed ${seed}: wrong ${walked.wrong} of ${path}`, {
          verdict,
          given: hex(given),
          sent: hex(sent),
        })
    }
    t.comment(verdicts, checked)
    for (const verdict of [
      'IPIP',
      'GRE',
      'GUE',
      'PING',
      'TOO_BIG',
      'TUNNEL_ERROR',
      'REJECT_RST',
      'REJECT_UNREACHABLE',
    ])
      t.ok((verdicts[`TX_${verdict}`] ?? 0) >= 100, `TX_${verdict} was met often enough`)
    const outers = ['ipv4', '', 'udp']
    const inners = ['ipv4 tcp', 'ipv4 udp', 'tcp', 'udp', 'ipv4 icmp', 'icmpv6']
    for (const outer of outers)
      for (const inner of inners) {
        const path = [outer, inner].filter(part => part !== '').join(' ')
        t.ok((checked[path] ?? 0) >= 10, `"${path}" was met often enough`)
      }
  },
)

t.test('the walk finds a wrong bit anywhere in what it checks', async t => {
  const random = seededRandom(seed + 1)
  for (let n = 0; n < 300; n++) {
    const vip = random.pick(VIPS)
    const { port } = random.pick(variants)
    const { action, packet: sent } = dataPlane.run(
      frame(fromClient, packet(random, vip, tcp({ from: n, to: port }, random.bytes(40)))),
    )
    if (action !== 'TX') continue
    const broken = Uint8Array.from(sent)
    broken[sent.length - 1 - random.below(40)]! ^= 1 << random.below(8)
    t.ok(walkChecksums(broken, GUE_PORTS).wrong.length > 0, hex(broken))
  }
})
