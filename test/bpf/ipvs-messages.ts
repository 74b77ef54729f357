/** Answers and errors beside IPVS, and the kernel under it, field by field. Where they differ on purpose, it is said here. */
import t from 'tap'
import { fromHex, hex, readU16, readU32 } from '../fixtures/bytes.js'
import { instance } from '../fixtures/cases.js'
import { frame, ipv4, ipv6 } from '../fixtures/frames.js'
import {
  answered,
  families,
  type IpvsCase,
  ipvsCases,
  ipvsTables,
  modeOf,
  overhead,
  title,
  withoutTtl,
} from '../fixtures/ipvs.js'
import { parseIp, wrongChecksums } from '../fixtures/parse.js'
import { BALANCER_MAC, OUT_MAC } from '../fixtures/tables.js'
import { icmp, icmpv6 } from '../fixtures/transport.js'

const named = (pattern: RegExp): readonly IpvsCase[] => ipvsCases().filter(({ name }) => pattern.test(name))
/** Frames of clients, and of routers on the way to the backends. */
const fromClients = await instance(t, ipvsTables(BALANCER_MAC))
const fromRouters = await instance(t, ipvsTables(OUT_MAC))

/** A router's error as it would be about a packet of ours: GUE's source ports begin at 49152, IPVS takes any. */
const asOurs = (found: IpvsCase): Uint8Array => {
  if (modeOf(found.tunnel) !== 'gue') return found.frame
  const isOver4 = families(found.tunnel).outer === 4
  const headerBytes = isOver4 ? 20 : 40
  const quoted = Uint8Array.from(found.frame.subarray(14 + headerBytes + 8))
  quoted[headerBytes]! |= 0xc0
  const { from, to, payload } = parseIp(found.frame.subarray(14))
  const fields = { type: payload[0]!, code: payload[1]!, rest: readU32(payload, 4) }
  const ends = { from: fromHex(from), to: fromHex(to) }
  const error = isOver4 ? ipv4(ends, icmp(fields, quoted)) : ipv6(ends, icmpv6(fields, quoted))
  return frame({ to: OUT_MAC, from: '02:00:00:00:0b:01' }, error)
}

t.test('a packet that is too long is answered: the same type, MTU and quote', async t => {
  const long = named(/^too-long$/)
  t.equal(long.length, 12)
  for (const found of long) {
    const { verdict, packet } = fromClients.run(found.frame)
    t.equal(verdict, 'TX_TOO_BIG', title(found))
    const [ours, theirs] = [parseIp(packet.subarray(14)), parseIp(answered(found).subarray(14))]
    for (const field of ['version', 'from', 'to', 'protocol', 'length', 'ttl'] as const)
      t.equal(ours[field], theirs[field], `${title(found)}: ${field}`)
    // TOS: the kernel raises the precedence of IPv4 errors (RFC 1812 4.3.2.5); ours have none
    t.equal(ours.tos, 0)
    t.equal(theirs.tos, theirs.version === 4 ? 0xc0 : 0)
    // DF: the kernel's have an id and may be fragmented; ours need not be
    if (ours.version === 4) t.same([ours.dontFragment, theirs.dontFragment], [true, false])
    t.equal(hex(ours.payload.subarray(0, 2)), hex(theirs.payload.subarray(0, 2)), `${title(found)}: type`)
    t.equal(hex(ours.payload.subarray(4, 8)), hex(theirs.payload.subarray(4, 8)), `${title(found)}: MTU`)
    t.equal(
      withoutTtl(ours.payload.subarray(8)),
      withoutTtl(theirs.payload.subarray(8)),
      `${title(found)}: quote`,
    )
    t.same(wrongChecksums(packet), [])
  }
})

t.test('a router’s error about the outer packet is told to the client', async t => {
  const told = named(/^router /)
  t.equal(told.length, 30)
  for (const found of told) {
    const { verdict, packet } = fromRouters.run(asOurs(found))
    t.equal(verdict, 'TX_TUNNEL_ERROR', title(found))
    t.same(wrongChecksums(packet), [], title(found))
    const ours = parseIp(packet.subarray(14))
    const { inner, outer } = families(found.tunnel)
    const isTooBig = found.name === 'router too-big'
    const [type, code] = inner === 4 ? [3, isTooBig ? 4 : 1] : isTooBig ? [2, 0] : [1, 3]
    t.same([...ours.payload.subarray(0, 2)], [type, code], title(found))
    t.equal(readU32(ours.payload, 4), isTooBig ? 1400 - overhead(found.tunnel) : 0, title(found))
    t.equal(ours.version, inner)
    // IPVS tells those of 4in4 alone; a client of all others hears nothing
    t.equal(found.answer !== null, inner === 4 && outer === 4, title(found))
    if (found.answer === null) continue

    const theirs = parseIp(found.answer.frame.subarray(14))
    for (const field of ['from', 'to', 'protocol', 'length', 'ttl'] as const)
      t.equal(ours[field], theirs[field], `${title(found)}: ${field}`)
    t.equal(
      withoutTtl(ours.payload.subarray(8)),
      withoutTtl(theirs.payload.subarray(8)),
      `${title(found)}: quote`,
    )
    if (!isTooBig) {
      // the kind: IPVS passes on the router's, as if it were about the client's own ports and hops; ours: host unreachable
      const original = parseIp(found.frame.subarray(14)).payload
      t.same([...theirs.payload.subarray(0, 2)], [...original.subarray(0, 2)])
      continue
    }
    // the MTU: IPVS takes off an IP header alone, and for IPIP it is that of its route, which has not learnt yet
    t.equal(readU16(theirs.payload, 6), modeOf(found.tunnel) === 'ipip' ? 1500 - 20 : 1400 - 20, title(found))
  }
})

t.test('an echo request is answered as the host would', async t => {
  const pings = ipvsCases().filter(({ tunnel }) => tunnel === 'echo')
  t.equal(pings.length, 2)
  for (const found of pings) {
    const { verdict, packet } = fromClients.run(found.frame)
    t.equal(verdict, 'TX_PING')
    const [ours, theirs] = [parseIp(packet.subarray(14)), parseIp(answered(found).subarray(14))]
    // the host copies the TOS to its IPv4 reply, and so do we; the traffic class, too
    for (const field of ['version', 'from', 'to', 'protocol', 'ttl', 'tos', 'length'] as const)
      t.equal(ours[field], theirs[field], field)
    t.equal(hex(ours.payload), hex(theirs.payload), 'the message, its checksum included')
    t.equal(hex(packet.subarray(0, 14)), hex(answered(found).subarray(0, 14)))
    // id, DF, flow label: the host takes its own; ours are the request's
    const request = parseIp(found.frame.subarray(14))
    for (const field of ['id', 'dontFragment', 'flowLabel'] as const)
      t.equal(ours[field], request[field], field)
    t.same(wrongChecksums(packet), [])
  }
})
