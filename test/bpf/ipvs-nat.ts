/** NAT beside IPVS masquerading, frame by frame. Where they differ on purpose, it is said here. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { concat, fromHex, hex, readU16, readU32, sameBytes, u16 } from '../fixtures/bytes.js'
import { instance } from '../fixtures/cases.js'
import { checksum, onesComplementSum } from '../fixtures/checksum.js'
import { BACKEND, BACKEND6 } from '../fixtures/nat-cases.js'
import { parseIp, wrongChecksums } from '../fixtures/parse.js'
import {
  backendEntry,
  clientRoute,
  entryInterface,
  hashKeys,
  nat,
  OTHER_IFINDEX,
  OUT_MAC,
  serviceEntry,
} from '../fixtures/tables.js'
import { pseudoHeader } from '../fixtures/transport.js'
import type { Tables } from '../model/tables.js'

const CLIENT_SIDE = '02:00:00:00:00:fe'
const CLIENT_MAC = '02:00:00:00:00:01'
const BACKEND_MAC = '02:00:00:00:0b:01'
const MTU = 1400

interface Case {
  readonly family: 4 | 6
  readonly name: string
  readonly from: 'client' | 'backend'
  readonly frame: Uint8Array
  /** null: nothing came out. */
  readonly answer: { readonly to: 'client' | 'backend'; readonly frame: Uint8Array } | null
}

const side = (text: string | undefined): 'client' | 'backend' => {
  if (text !== 'client' && text !== 'backend') throw new Error(`no side: ${text}`)
  return text
}

const cases: readonly Case[] = readFileSync(new URL('../golden/frames-nat.txt', import.meta.url), 'utf8')
  .split(/^case nat /m)
  .slice(1)
  .map(block => {
    const [title = '', sent = '', got = '', ...rest] = block.split('\n').filter(line => line !== '')
    if (rest.length > 0) throw new Error(`${title}: more than one answer`)
    const [from, frame = ''] = sent.split(' ')
    const [to, answer = ''] = got.split(' ')
    return {
      family: title.startsWith('4') ? (4 as const) : (6 as const),
      name: title,
      from: side(from),
      frame: fromHex(frame),
      answer: got === '' ? null : { to: side(to?.replace('to-', '')), frame: fromHex(answer) },
    }
  })

const PORTS = [
  [8001, 8001],
  [8002, 3128],
] as const
const specs = (
  [
    ['192.0.2.10', BACKEND],
    ['2001:db8:ffff::10', BACKEND6],
  ] as const
).flatMap(([vip, to]) =>
  PORTS.flatMap(([port, toPort]) =>
    (['tcp', 'udp'] as const).map(protocol => ({ vip, to, port, toPort, protocol })),
  ),
)

/** As the guest of test/golden/make.sh serves; frames enter by the interface of one side. */
const tablesOf = (entry: 'client' | 'backend'): Tables => ({
  hashKeys,
  services: specs.map(({ vip, port, protocol }, id) =>
    serviceEntry(id, { vip, port, protocol, owners: [id + 1] }),
  ),
  backends: specs.map(({ to, toPort }, id) =>
    backendEntry(id + 1, id, {
      nextHopMac: BACKEND_MAC,
      interfaceMac: OUT_MAC,
      ifindex: OTHER_IFINDEX,
      mtu: MTU,
      translation: nat(to, toPort),
    }),
  ),
  interfaces: [
    entry === 'client'
      ? {
          ...entryInterface,
          mac: CLIENT_SIDE,
          mtu: 1500,
          address4: '198.51.100.1',
          address6: '2001:db8:1::1',
        }
      : { ...entryInterface, mac: OUT_MAC, mtu: 1500, address4: '10.9.0.1', address6: '2001:db8:9::1' },
  ],
  vips: [],
  clientRoutes: (['0.0.0.0', '::'] as const).map(net =>
    clientRoute(net, 0, {
      nextHopMac: CLIENT_MAC,
      interfaceMac: CLIENT_SIDE,
      ifindex: OTHER_IFINDEX,
      mtu: 1500,
    }),
  ),
})

const sides = {
  client: await instance(t, tablesOf('client')),
  backend: await instance(t, tablesOf('backend')),
}
const run = (found: Case) => sides[found.from].run(found.frame)
const named = (pattern: RegExp, count: number): readonly Case[] => {
  const found = cases.filter(({ name }) => pattern.test(name))
  if (found.length !== count) throw new Error(`${found.length} cases are named ${pattern}`)
  return found
}
const answerOf = ({ name, answer }: Case): Uint8Array => {
  if (answer === null) throw new Error(`IPVS has said nothing to ${name}`)
  return answer.frame
}

t.test('requests and replies are the same, byte for byte', async t => {
  for (const found of named(/ (syn|syn-ack|data|answer|query|response|request, ttl 2|reply, ttl 2)$/, 32)) {
    const { verdict, packet } = run(found)
    t.equal(verdict, found.from === 'client' ? 'REDIRECT_NAT' : 'REDIRECT_NAT_REPLY', found.name)
    t.equal(hex(packet), hex(answerOf(found)), found.name)
  }
})

t.test('a datagram without a checksum: IPVS gives it one, ours stays without', async t => {
  for (const found of named(/ without checksum$/, 4)) {
    const { packet } = run(found)
    const theirs = Uint8Array.from(answerOf(found))
    t.not(readU16(theirs, 40), 0)
    // RFC 3022 4.1: a checksum of 0 is left as it is; to add one up, the whole datagram would have to be read
    theirs.set([0, 0], 40)
    t.equal(hex(packet), hex(theirs), found.name)
  }
})

t.test(
  'a backend’s own connection is the host’s to forward, and IPVS changes nothing but its TTL',
  async t => {
    for (const found of named(/ own connection$/, 2)) {
      const { verdict, packet } = run(found)
      t.equal(verdict, 'PASS_NOT_A_SERVICE')
      t.ok(sameBytes(packet, found.frame))
      const [sent, theirs] = [parseIp(found.frame.subarray(14)), parseIp(answerOf(found).subarray(14))]
      t.same({ ...theirs, header: null, ttl: theirs.ttl + 1 }, { ...sent, header: null })
    }
  },
)

/** The packet with the checksum of what is quoted in it as IPVS leaves it, and the message's own by that. */
const withQuotedChecksum = (found: Case, packet: Uint8Array): Uint8Array => {
  const headerBytes = found.family === 4 ? 20 : 40
  const quotedAt = 14 + headerBytes + 8
  const quoted = quotedAt + headerBytes
  const protocol = found.family === 4 ? packet[quotedAt + 9] : packet[quotedAt + 6]
  const at = quoted + (protocol === 6 ? 16 : 6)
  const changed = Uint8Array.from(packet)
  if (at + 2 <= packet.length) changed.set(found.frame.subarray(at, at + 2), at)
  const messageAt = 14 + headerBytes
  changed.set([0, 0], messageAt + 2)
  const { from, to } = parseIp(changed.subarray(14))
  const message = changed.subarray(messageAt)
  const before =
    found.family === 4
      ? new Uint8Array(0)
      : pseudoHeader({ from: fromHex(from), to: fromHex(to) }, 58, message.length)
  changed.set(u16(checksum(before, message)), messageAt + 2)
  return changed
}

t.test('errors from outside are the same, but that ours also change the checksum that is quoted', async t => {
  for (const found of named(/ error to backend, /, 48)) {
    const { verdict, packet } = run(found)
    t.equal(verdict, 'REDIRECT_NAT', found.name)
    t.same(wrongChecksums(packet), [], found.name)
    // RFC 5508 4.1 and 4.2 want the embedded packet as its sender has sent it; IPVS leaves its checksum as it came
    t.equal(hex(withQuotedChecksum(found, packet)), hex(answerOf(found)), found.name)
    if (!/full$/.test(found.name)) continue
    const quoted = packet.subarray(14 + (found.family === 4 ? 28 : 48))
    t.same(wrongChecksums(concat(packet.subarray(0, 14), quoted)), [], `${found.name}: the quote’s`)
  }
})

t.test('errors from inside: the same for IPv4; of IPv6, IPVS passes none on', async t => {
  for (const found of named(/ error to client, /, 48)) {
    const { verdict, packet } = run(found)
    t.equal(verdict, 'REDIRECT_NAT_REPLY', found.name)
    t.same(wrongChecksums(packet), [], found.name)
    t.equal(found.answer === null, found.family === 6)
    if (found.answer !== null)
      t.equal(hex(withQuotedChecksum(found, packet)), hex(answerOf(found)), found.name)
    if (!/full$/.test(found.name)) continue
    const quoted = packet.subarray(14 + (found.family === 4 ? 28 : 48))
    t.same(wrongChecksums(concat(packet.subarray(0, 14), quoted)), [], `${found.name}: the quote’s`)
  }
})

t.test('what is too long is answered with the same MTU and quote', async t => {
  for (const found of named(/ too-long$/, 4)) {
    const { verdict, packet } = run(found)
    t.equal(verdict, 'TX_TOO_BIG', found.name)
    const [ours, theirs] = [parseIp(packet.subarray(14)), parseIp(answerOf(found).subarray(14))]
    for (const field of ['from', 'to', 'protocol', 'length', 'ttl'] as const)
      t.equal(ours[field], theirs[field], field)
    t.equal(hex(ours.payload.subarray(0, 2)), hex(theirs.payload.subarray(0, 2)))
    t.equal(readU32(ours.payload, 4), MTU)
    t.equal(readU32(theirs.payload, 4), MTU)
    // the quote: IPVS has already taken a hop off its TTL; ours is as the client has sent it
    const quoted = Uint8Array.from(theirs.payload.subarray(8))
    if (found.family === 6) quoted[7]!++
    else {
      quoted[8]!++
      quoted.set(u16(0xffff - onesComplementSum(concat(quoted.subarray(0, 10), quoted.subarray(12, 20)))), 10)
    }
    t.equal(hex(ours.payload.subarray(8)), hex(quoted))
    t.same(wrongChecksums(packet), [])
  }
})

t.test('what has no hop left is answered, quoting the same', async t => {
  for (const found of named(/, ttl 1$/, 8)) {
    const { verdict, packet } = run(found)
    t.equal(verdict, 'TX_TIME_EXCEEDED', found.name)
    const [ours, theirs] = [parseIp(packet.subarray(14)), parseIp(answerOf(found).subarray(14))]
    for (const field of ['to', 'protocol', 'length', 'ttl'] as const)
      t.equal(ours[field], theirs[field], field)
    // whose: of a reply the interface's in both; of a request the kernel says the VIP, which hides the router that it is
    const isReply = found.from === 'backend'
    t.equal(ours.from === theirs.from, isReply, found.name)
    if (!isReply) t.equal(theirs.from, parseIp(found.frame.subarray(14)).to)
    // TOS, id and DF: as of the errors in ipvs-messages.ts
    t.same([ours.tos, theirs.tos], [0, found.family === 4 ? 0xc0 : 0])
    const cut = found.family === 4 ? theirs.payload.length : ours.payload.length
    t.equal(hex(ours.payload.subarray(4, cut)), hex(theirs.payload.subarray(4, cut)), found.name)
    t.same(wrongChecksums(packet), [])
  }
})
