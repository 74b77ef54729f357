/**
 * Every checksum of what leaves, added up anew: random addresses and ports on both sides of the translation, random
 * packets and quotes. Nothing of the model is used: a packet is right when its words sum up.
 */
import t from 'tap'
import { addressText } from '../../src/address.js'
import { concat, hex } from '../fixtures/bytes.js'
import { instance } from '../fixtures/cases.js'
import { walkChecksums } from '../fixtures/checksum-walk.js'
import { endsOf } from '../fixtures/connection-cases.js'
import { times } from '../fixtures/connection-tables.js'
import { frame, ipv4, ipv6, type Payload } from '../fixtures/frames.js'
import { fromBackend, inward } from '../fixtures/nat-cases.js'
import { parseEthernet, parseIp } from '../fixtures/parse.js'
import { chosenSeed, type Random, seededRandom } from '../fixtures/random.js'
import {
  backendEntry,
  clientRoute,
  entryInterface,
  fullnat,
  hashKeys,
  nat,
  serviceEntry,
} from '../fixtures/tables.js'
import { icmp, icmpv6, type Transport, tcp, udp } from '../fixtures/transport.js'
import type { Tables } from '../model/tables.js'

const WORLDS = 12
const PACKETS = 40
const seed = chosenSeed(20_261_123)
t.comment(`LINIMO_SEED=${seed}`)

type Family = 4 | 6
const host = (random: Random, family: Family): string => {
  const bytes = random.bytes(family === 4 ? 4 : 16)
  bytes[0] = family === 4 ? random.between(1, 126) : 0x20
  return addressText(bytes)
}
const port = (random: Random): number => random.between(1, 65535)

interface Service {
  readonly vip: string
  readonly port: number
  readonly protocol: 'tcp' | 'udp'
  readonly to: string
  readonly toPort: number
  readonly mode: 'nat' | 'fullnat'
}

const servicesOf = (random: Random): readonly Service[] =>
  ([4, 6] as const).flatMap(family =>
    (['nat', 'fullnat'] as const).flatMap(mode =>
      (['tcp', 'udp'] as const).map(protocol => ({
        vip: host(random, family),
        port: port(random),
        protocol,
        to: host(random, family),
        toPort: random.chance(0.2) ? 0 : port(random),
        mode,
      })),
    ),
  )

const tablesOf = (random: Random, services: readonly Service[]): Tables => ({
  hashKeys,
  services: services.map(({ vip, port, protocol }, id) =>
    serviceEntry(id, { vip, port, protocol, owners: [id + 1], pool: 1, times }),
  ),
  backends: services.map(({ to, toPort, mode }, id) =>
    backendEntry(id + 1, id, { translation: mode === 'nat' ? nat(to, toPort) : fullnat(to, toPort) }),
  ),
  interfaces: [entryInterface],
  vips: [],
  pools: [
    { index: 1, addresses: [host(random, 4)], firstPort: random.between(1, 60000), ports: 512, ranges: 1 },
    { index: 2, addresses: [host(random, 6)], firstPort: random.between(1, 60000), ports: 512, ranges: 1 },
  ],
  clientRoutes: [clientRoute('0.0.0.0', 0), clientRoute('::', 0)],
})

const segment = (
  random: Random,
  { protocol }: Service,
  from: number,
  to: number,
  flags: number,
): Transport => {
  const body = random.bytes(random.below(random.pick([3, 60, 1400])))
  if (protocol === 'udp') return udp({ from, to }, body)
  const options = random.bytes(random.pick([0, 4, 12, 40])).map(() => 1)
  return tcp(
    { from, to, seq: random.u32(), ack: random.u32(), window: random.below(65536), flags, options },
    body,
  )
}

const packet = (random: Random, from: string, to: string, transport: Transport): Payload =>
  to.includes(':')
    ? ipv6(
        {
          from,
          to,
          trafficClass: random.below(256),
          flowLabel: random.below(2 ** 20),
          hopLimit: random.between(2, 255),
        },
        transport,
      )
    : ipv4(
        {
          from,
          to,
          tos: random.below(256),
          id: random.below(65536),
          ttl: random.between(2, 255),
          dontFragment: random.chance(0.5),
          options: random.chance(0.2)
            ? random.bytes(random.pick([4, 12, 40])).map(() => 1)
            : new Uint8Array(0),
        },
        transport,
      )

/** An error that quotes so much of the packet. */
const about = (random: Random, from: string, to: string, quoted: Uint8Array): Payload => {
  const kind = to.includes(':')
    ? random.pick([
        { type: 1, code: 4 },
        { type: 2, code: 0, rest: 1280 },
        { type: 3, code: 0 },
      ])
    : random.pick([
        { type: 3, code: 3 },
        { type: 3, code: 4, rest: 1300 },
        { type: 11, code: 0 },
      ])
  return packet(random, from, to, to.includes(':') ? icmpv6(kind, quoted) : icmp(kind, quoted))
}

const is6 = (text: string): boolean => text.includes(':')

/** The names of what is wrong in a frame, of the packet that it quotes too if that is whole. */
const wrong = (bytes: Uint8Array, isQuoteWhole = false): readonly string[] => {
  const outer = walkChecksums(bytes, [])
  if (!isQuoteWhole) return outer.wrong
  const { payloadAt } = parseEthernet(bytes)
  const { payload } = parseIp(bytes.subarray(payloadAt))
  const quoted = walkChecksums(concat(bytes.subarray(0, payloadAt), payload.subarray(8)), [])
  return [...outer.wrong, ...quoted.wrong.map(name => `quoted ${name}`)]
}

t.test('every checksum is right', { timeout: 200_000 }, async t => {
  const random = seededRandom(seed)
  const met = new Map<string, number>()
  const check = (verdict: string, bytes: Uint8Array, sent: Uint8Array, isQuoteWhole = false): void => {
    met.set(verdict, (met.get(verdict) ?? 0) + 1)
    const found = wrong(bytes, isQuoteWhole)
    if (found.length > 0) t.fail(found.join(', '), { verdict, sent: hex(sent), got: hex(bytes) })
  }
  for (let world = 0; world < WORLDS; world++) {
    const services = servicesOf(random)
    const dataPlane = await instance(t, tablesOf(random, services))
    dataPlane.setSeconds(1000)
    for (let n = 0; n < PACKETS; n++)
      for (const service of services) {
        const family = is6(service.vip) ? 6 : 4
        const client = { host: host(random, family), port: port(random) }
        const run = (bytes: Uint8Array, isQuoteWhole = false): Uint8Array => {
          const { verdict, packet } = dataPlane.run(bytes)
          check(verdict, packet, bytes, isQuoteWhole)
          return packet
        }
        const request = packet(
          random,
          client.host,
          service.vip,
          segment(random, service, client.port, service.port, 2),
        )
        const there = run(frame(inward, request))
        const { from, to } = endsOf(there)
        const reply = packet(random, to.host, from.host, segment(random, service, to.port, from.port, 0x12))
        const back = run(frame(fromBackend(1), reply))
        const least = (bytes: Uint8Array): number => (is6(service.vip) ? 40 : (bytes[0]! & 15) * 4) + 8
        for (const [arrived, ethernet, side] of [
          [there, fromBackend(1), from.host],
          [back, inward, service.vip],
        ] as const) {
          const whole = arrived.subarray(14)
          const most = Math.min(whole.length, is6(service.vip) ? 1232 : 548)
          const length = random.chance(0.4) ? most : random.between(least(whole), most)
          run(
            frame(ethernet, about(random, host(random, family), side, whole.subarray(0, length))),
            length === whole.length,
          )
        }
      }
  }
  t.comment(Object.fromEntries(met))
  const each = WORLDS * PACKETS * 4
  for (const mode of ['NAT', 'FULLNAT'])
    for (const verdict of [`TX_${mode}`, `TX_${mode}_REPLY`]) t.equal(met.get(verdict), 2 * each, verdict)
  t.equal(met.size, 4)
})
