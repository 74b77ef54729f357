/**
 * Encapsulation beside IPVS: the same frames in, the answers compared field by field. Where they differ on purpose, it
 * is said here.
 */
import t, { type Test } from 'tap'
import { hex } from '../fixtures/bytes.js'
import { instance } from '../fixtures/cases.js'
import {
  answered,
  families,
  type IpvsCase,
  ipvsCases,
  ipvsTables,
  modeOf,
  title,
  withoutTtl,
} from '../fixtures/ipvs.js'
import { parseIp, wrongChecksums } from '../fixtures/parse.js'
import { BALANCER_MAC } from '../fixtures/tables.js'
import { type Unwrapped, unwrap } from '../fixtures/unwrap.js'

const dataPlane = await instance(t, ipvsTables(BALANCER_MAC))
const NAMES = ['syn', 'data', 'udp', 'ce', 'flow too-big', 'flow minimal']

const compareShims = (t: Test, found: IpvsCase, ours: Unwrapped, theirs: Unwrapped): void => {
  const isSummed = found.tunnel.includes('csum')
  // GRE checksum: an option of IPVS that we do not have
  if (isSummed && modeOf(found.tunnel) === 'gre') {
    t.same({ ours: ours.gre?.flags, theirs: theirs.gre?.flags }, { ours: 0, theirs: 0x8000 })
    t.equal(ours.gre?.protocol, theirs.gre?.protocol)
    t.equal(withoutTtl(ours.inner), withoutTtl(theirs.inner.subarray(4)), title(found))
    return
  }
  t.same(ours.gre, theirs.gre, title(found))
  t.equal(withoutTtl(ours.inner), withoutTtl(theirs.inner), title(found))
  t.equal(ours.outer.length, theirs.outer.length, title(found))
  if (ours.udp === null || theirs.udp === null) return
  t.equal(ours.gue, theirs.gue, title(found))
  t.equal(ours.udp.to, theirs.udp.to)
  t.equal(ours.udp.length, theirs.udp.length)
  // source port: IPVS takes its hash's 16 bits; we keep to the ephemeral range
  t.ok(ours.udp.from >= 0xc000)
  // UDP checksum: IPVS has one, or none, as told, and over IPv6 none as well; ours: none over IPv4, always over IPv6
  t.equal(theirs.udp.checksum !== 0, isSummed)
  t.equal(ours.udp.checksum !== 0, families(found.tunnel).outer === 6)
}

t.test('into a tunnel: the same headers, but for those named here', async t => {
  const sent = ipvsCases().filter(({ name }) => NAMES.includes(name))
  t.equal(sent.length, 20 * 4 + 12 * 2)
  for (const found of sent) {
    const { verdict, packet } = dataPlane.run(found.frame)
    t.equal(verdict, `REDIRECT_${modeOf(found.tunnel).toUpperCase()}`, title(found))
    const [ours, theirs] = [unwrap(packet), unwrap(answered(found))]
    const { inner, outer } = families(found.tunnel)
    const original = parseIp(found.frame.subarray(14))
    const isDf = inner === 6 || original.dontFragment

    t.equal(hex(packet.subarray(0, 14)), hex(answered(found).subarray(0, 14)), 'MAC addresses and EtherType')
    for (const field of ['version', 'from', 'to', 'protocol'] as const)
      t.equal(ours.outer[field], theirs.outer[field], `${title(found)}: ${field}`)

    // TTL: IPVS takes the inner one, less 1; we: 64
    t.equal(theirs.outer.ttl, original.ttl - 1)
    t.equal(ours.outer.ttl, 64)
    // ECN: IPVS makes CE ECT(0), as RFC 3168's full functionality; we copy, as RFC 6040's normal mode
    const isCe = (original.tos & 3) === 3
    t.equal(ours.outer.tos, original.tos)
    t.equal(theirs.outer.tos, isCe ? (original.tos & 0xfc) | 2 : original.tos, title(found))
    // DF: IPVS leaves it clear around IPv6; we set it, for no router may fragment IPv6
    if (outer === 4) {
      t.equal(theirs.outer.dontFragment, inner === 4 && original.dontFragment, title(found))
      t.equal(ours.outer.dontFragment, isDf, title(found))
      if (isDf) t.equal(ours.outer.id, 0, 'no id with DF, as IPVS')
    }
    // flow label: IPVS has none; ours is the flow's
    if (outer === 6) {
      t.equal(theirs.outer.flowLabel, 0)
      t.not(ours.outer.flowLabel, 0)
    }
    // TTL of the packet: IPVS takes one off; we leave it
    t.equal(hex(ours.inner), hex(found.frame.subarray(14)), title(found))
    compareShims(t, found, ours, theirs)
    t.same(wrongChecksums(packet), [], title(found))
  }
})
