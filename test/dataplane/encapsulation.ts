import t from 'tap'
import { forwardFields, innerMtu, outerSource, overheadOf } from '../../src/dataplane/encapsulation.js'
import { backendFlags, forwardMode } from '../../src/dataplane/layout.js'
import type { Forward } from '../../src/model.js'

const V4 = '10.0.0.1'
const V6 = '2001:db8::1'
const gue = (port: number, variant: 0 | 1): Forward => ({ mode: 'gue', port, variant })

t.test('a tunnel lengthens packets by its headers, whose outer one is of the backend’s family', async t => {
  for (const [forward, overV4, overV6] of [
    [{ mode: 'dr' }, 0, 0],
    [{ mode: 'ipip' }, 20, 40],
    [{ mode: 'gre', key: null }, 24, 44],
    [{ mode: 'gre', key: 0 }, 28, 48],
    [gue(6080, 0), 32, 52],
    [gue(6080, 1), 28, 48],
  ] as const satisfies [Forward, number, number][]) {
    t.equal(overheadOf(forward, V4), overV4, JSON.stringify(forward))
    t.equal(overheadOf(forward, V6), overV6, JSON.stringify(forward))
    t.equal(innerMtu(1500, forward, V6), 1500 - overV6)
  }
  t.equal(innerMtu(65536, { mode: 'dr' }, V4), 65535, 'the record has 16 bits')
  t.equal(innerMtu(10, gue(6080, 0), V4), 0)
})

t.test('of a prefix the bits behind it are the flow’s, of an address none', async t => {
  const bytes = (text: string) => [...outerSource(text).address.subarray(12)]
  t.match([outerSource('10.9.0.0/16').spread, bytes('10.9.0.0/16')], [16, [10, 9, 0, 0]])
  t.match([outerSource('10.9.1.5').spread, bytes('10.9.1.5')], [0, [10, 9, 1, 5]])
  t.equal(outerSource('2001:db8:9::/64').spread, 64)
  t.equal(outerSource('2001:db8:9::/120').spread, 8)
  t.equal(outerSource('2001:db8::/32').spread, 64, 'as much hash as there is')
})

t.test('the record says mode, key or port, and the header’s form', async t => {
  const of = (forward: Forward) => {
    const { mode, flags, key } = forwardFields(forward, null)
    return [mode, flags, key]
  }
  t.same(of({ mode: 'dr' }), [forwardMode.FORWARD_DR, 0, 0])
  t.same(of({ mode: 'ipip' }), [forwardMode.FORWARD_IPIP, 0, 0])
  t.same(of({ mode: 'gre', key: null }), [forwardMode.FORWARD_GRE, 0, 0])
  t.same(of({ mode: 'gre', key: 0 }), [forwardMode.FORWARD_GRE, backendFlags.BACKEND_KEYED, 0])
  t.same(of({ mode: 'gre', key: 0xffff_ffff })[2], 0xffff_ffff)
  t.same(of(gue(6080, 0)), [forwardMode.FORWARD_GUE, 0, 6080 * 65536])
  t.same(of(gue(65535, 1)), [forwardMode.FORWARD_GUE, backendFlags.BACKEND_BARE, 0xffff_0000])
})
