/**
 * Mutated frames of connections that are open: the data plane must do to each what the model's rewriting does with the
 * connection's ends, and nothing to all else. New connections come from mutated ports; their ends it may choose.
 */
import t from 'tap'
import { addressText } from '../src/address.js'
import { address, mac } from './fixtures/addresses.js'
import { hex, readU16, sameBytes } from './fixtures/bytes.js'
import { between, type End, openEach } from './fixtures/connection-cases.js'
import { connectionTables } from './fixtures/connection-tables.js'
import { openDataPlane } from './fixtures/data-plane.js'
import type { EthernetFields } from './fixtures/frames.js'
import { toGateway } from './fixtures/nat-cases.js'
import { chosenSeed, type Random, seededRandom } from './fixtures/random.js'
import { mutate } from './fixtures/random-frames.js'
import { BALANCER_MAC } from './fixtures/tables.js'
import { tcpFlags } from './fixtures/transport.js'
import { readIp, readPorts, type ServicePacket } from './model/packet.js'
import { oneHopOn, ttlOf, withOtherEnds } from './model/rewrite.js'

const FRAMES = 60_000
const seed = chosenSeed(20_261_124)

interface Way {
  readonly name: string
  readonly verdict: string
  readonly from: End
  readonly to: End
  readonly out: EthernetFields
}

const key = (protocol: string, from: End, to: End): string =>
  `${protocol} ${from.host} ${from.port} ${to.host} ${to.port}`
const keyOf = ({ protocol, source, destination, ports }: ServicePacket): string =>
  key(
    protocol,
    { host: addressText(source), port: readU16(ports, 0) },
    { host: addressText(destination), port: readU16(ports, 2) },
  )

/** What the packet becomes on its way. */
const translated = (frame: Uint8Array, packet: ServicePacket, { from, to, out }: Way): Uint8Array => {
  const ends = {
    source: address(from.host),
    destination: address(to.host),
    sourcePort: from.port,
    destinationPort: to.port,
  }
  const bytes = oneHopOn(withOtherEnds(frame, packet, ends), packet)
  bytes.set(mac(out.to as string))
  bytes.set(mac(out.from as string), 6)
  return bytes
}

const isSyn = (frame: Uint8Array, packet: ServicePacket): boolean =>
  packet.protocol === 'tcp' &&
  ((frame[packet.transportAt + 13] ?? 0) & (tcpFlags.SYN | tcpFlags.ACK)) === tcpFlags.SYN

/** Whether a packet whose tuple is known is translated: what the earlier steps say against it. */
const isForwarded = (frame: Uint8Array, packet: ServicePacket, way: Way): boolean =>
  sameBytes(frame.subarray(0, 6), mac(BALANCER_MAC)) &&
  packet.end - packet.transportAt >= (packet.protocol === 'tcp' ? 20 : 8) &&
  ttlOf(frame, packet) > 1 &&
  frame.length - packet.ipAt <= 65535 &&
  !(way.verdict.endsWith('REPLY') && isSyn(frame, packet))

t.test(
  'mutated frames of connections are translated by the book, or left alone',
  { timeout: 280_000 },
  async t => {
    t.comment(`LINIMO_SEED=${seed}`)
    const random: Random = seededRandom(seed)
    const tables = connectionTables({
      pools: [
        { index: 0, addresses: [], firstPort: 16, ports: 60_000, ranges: 1 },
        { index: 1, addresses: ['10.200.0.1'], firstPort: 1024, ports: 60_000, ranges: 1 },
        { index: 2, addresses: ['2001:db8:200::1'], firstPort: 1024, ports: 60_000, ranges: 1 },
        { index: 3, addresses: ['10.200.1.1'], firstPort: 1024, ports: 60_000, ranges: 1 },
      ],
    })
    const dataPlane = await openDataPlane(tables)
    t.teardown(() => dataPlane.close())
    dataPlane.setSeconds(1000)
    const opened = openEach(dataPlane, tables, (text, { verdict }) => t.fail(text, { verdict }))
    const ways = new Map<string, Way>()
    const learn = (it: (typeof opened)[number]): void => {
      const { name, mode, protocol } = it
      const there = { name, verdict: `TX_${mode}`, from: it.local, to: it.server, out: it.far.out }
      const back = { name, verdict: `TX_${mode}_REPLY`, from: it.vip, to: it.client, out: it.near.out }
      ways.set(key(protocol, it.client, it.vip), there)
      ways.set(key(protocol, it.server, it.local), back)
    }
    for (const it of opened) learn(it)

    const met: Record<string, number> = {}
    let failures = 0
    const fail = (
      text: string,
      frame: Uint8Array,
      verdict: string,
      got: Uint8Array,
      wanted?: Uint8Array,
    ): undefined => {
      failures++
      t.fail(text, { verdict, frame: hex(frame), got: hex(got), ...(wanted ? { wanted: hex(wanted) } : {}) })
    }
    const check = (frame: Uint8Array): undefined => {
      const { verdict, packet: got } = dataPlane.run(frame)
      met[verdict] = (met[verdict] ?? 0) + 1
      if (/^(PASS|DROP)/.test(verdict) && !sameBytes(got, frame))
        return fail('changed, and not sent', frame, verdict, got)
      const ip = readIp(frame)
      if (typeof ip === 'string') return verdict === ip ? undefined : fail(`not ${ip}`, frame, verdict, got)
      if (ip.carries === (ip.version === 4 ? 1 : 58)) return
      const packet = readPorts(frame, ip)
      if (typeof packet === 'string')
        return verdict === packet ? undefined : fail(`not ${packet}`, frame, verdict, got)
      const way = ways.get(keyOf(packet))
      const isTranslation = /^TX_(FULLNAT|SNAT|NAT)(_REPLY)?$/.test(verdict)
      if (way !== undefined) {
        if (!isForwarded(frame, packet, way))
          return isTranslation ? fail('not to be sent', frame, verdict, got) : undefined
        if (verdict !== way.verdict) return fail(`not ${way.verdict}, ${way.name}`, frame, verdict, got)
        const wanted = translated(frame, packet, way)
        return sameBytes(got, wanted) ? undefined : fail(`${way.name} is other`, frame, verdict, got, wanted)
      }
      if (!isTranslation) return
      if (verdict.endsWith('REPLY')) return fail('a reply of no connection', frame, verdict, got)
      const mode = verdict.slice(3) as (typeof opened)[number]['mode']
      const [client, vip] = [
        { host: addressText(packet.source), port: readU16(packet.ports, 0) },
        { host: addressText(packet.destination), port: readU16(packet.ports, 2) },
      ]
      if (mode !== 'NAT' && packet.protocol === 'tcp' && !isSyn(frame, packet))
        return fail('opened without SYN', frame, verdict, got)
      const read = readPorts(got, readIp(got) as ServicePacket) as ServicePacket
      const [local, server] = [
        { host: addressText(read.source), port: readU16(read.ports, 0) },
        { host: addressText(read.destination), port: readU16(read.ports, 2) },
      ]
      if (mode !== 'NAT' && ways.has(key(packet.protocol, server, local)))
        return fail('the port is another’s', frame, verdict, got)
      const name = `new ${mode}`
      const out = { to: hex(got.subarray(0, 6)), from: hex(got.subarray(6, 12)) }
      const there = { name, verdict, from: local, to: server, out }
      ways.set(key(packet.protocol, client, vip), there)
      // by the routes, whoever has sent the frame
      const back = { name, verdict: `${verdict}_REPLY`, from: vip, to: client, out: toGateway }
      ways.set(key(packet.protocol, server, local), back)
      const wanted = translated(frame, packet, there)
      if (!sameBytes(got, wanted)) fail(`${name} is other`, frame, verdict, got, wanted)
    }

    for (let n = 0; n < FRAMES && failures < 5; n++) {
      const it = random.pick(opened)
      const body = random.bytes(random.below(random.pick([3, 40, 600])))
      const flags = random.pick([0x10, 0x10, 0x18, 0x11, 0x02, 0x04, 0x12])
      const more = { body, flags, ip: { ttl: random.between(1, 255), tos: random.below(256) } }
      const tags = random.chance(0.8) ? [] : [{ tci: random.below(65536) }]
      const frame = random.chance(0.5)
        ? between({ ...it.near.in, tags }, it, it.client, it.vip, more)
        : between({ ...it.far.in, tags }, it, it.server, it.local, more)
      check(random.chance(0.6) ? mutate(random, frame) : frame)
    }
    t.comment(met)
    t.equal(failures, 0)
    for (const mode of ['FULLNAT', 'SNAT', 'NAT'])
      for (const verdict of [`TX_${mode}`, `TX_${mode}_REPLY`]) t.ok((met[verdict] ?? 0) > 100, verdict)
  },
)
