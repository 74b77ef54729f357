import fc from 'fast-check'
import t from 'tap'
import { addressBytes } from '../../src/address.js'
import { includes, parseClients } from '../../src/flows/client.js'

const takes = (text: string, address: string): boolean => {
  const clients = parseClients(text)
  if (clients === null) throw new Error(`${text} is refused`)
  return includes(clients, Uint8Array.of(1, 2, ...addressBytes(address)), 2)
}

t.test('an address, a prefix, an address with a port', async t => {
  t.match(parseClients('192.0.2.1'), { bits: 128, port: null })
  t.match(parseClients('192.0.2.0/24'), { bits: 120, port: null })
  t.match(parseClients('192.0.2.1:4321'), { bits: 128, port: 4321 })
  t.match(parseClients('[2001:db8::1]:4321'), { bits: 128, port: 4321 })
  t.match(parseClients('2001:db8::/32'), { bits: 32, port: null })
  t.match(parseClients('2001:db8::1:4321'), { bits: 128, port: null }, 'without brackets it is all address')
})

t.test('what is none of these is refused', async t => {
  const wrong = [
    '',
    'b1',
    '192.0.2',
    '192.0.2.256',
    '192.0.2.0/33',
    '192.0.2.0/',
    '192.0.2.0/x',
    '192.0.2.0/24/8',
    '192.0.2.0/24:80',
    '192.0.2.1:0',
    '192.0.2.1:65536',
    '192.0.2.1:',
    '[192.0.2.1]:80',
    '[2001:db8::1]',
    '[2001:db8::/64]:80',
    '2001:db8::/129',
    'fe80::1%eth0',
    '192.0.2.1/-1',
  ]
  for (const text of wrong) t.equal(parseClients(text), null, text)
})

t.test('a prefix takes the addresses of its own family only', async t => {
  t.ok(takes('0.0.0.0/0', '203.0.113.9'))
  t.notOk(takes('0.0.0.0/0', '2001:db8::1'))
  t.ok(takes('::/0', '2001:db8::1'))
  t.notOk(takes('::/0', '203.0.113.9'))
  t.ok(takes('10.0.0.9/8', '10.255.0.1'), 'what lies beyond the prefix does not matter')
})

const number32 = fc.integer({ min: 0, max: 0xffff_ffff })
const dotted = (value: number): string => [24, 16, 8, 0].map(shift => (value >>> shift) & 0xff).join('.')

t.test('a prefix takes exactly the addresses with which it shares so many bits', async t => {
  fc.assert(
    fc.property(
      number32,
      number32,
      fc.integer({ min: 0, max: 32 }),
      fc.boolean(),
      (net, other, bits, isNear) => {
        // Near: equal but for one bit around the prefix's end.
        const address = isNear ? (net ^ (1 << (31 - Math.min(31, bits)))) >>> 0 : other
        const shift = BigInt(32 - bits)
        return (
          takes(`${dotted(net)}/${bits}`, dotted(address)) ===
          (BigInt(net) >> shift === BigInt(address) >> shift)
        )
      },
    ),
    { numRuns: 2000 },
  )
  t.pass('2000 of them')
})

const groups = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 })
const hex = (of: readonly number[]): string => of.map(group => group.toString(16)).join(':')
const big = (of: readonly number[]): bigint => of.reduce((sum, group) => (sum << 16n) | BigInt(group), 0n)

t.test('so does one of IPv6', async t => {
  fc.assert(
    fc.property(
      groups,
      fc.integer({ min: 0, max: 127 }),
      fc.integer({ min: 0, max: 128 }),
      (net, flip, bits) => {
        const address = net.map((group, i) => (i === flip >> 4 ? group ^ (0x8000 >> (flip & 15)) : group))
        fc.pre([net, address].every(one => big(one) >> 32n !== 0xffffn))
        const shift = BigInt(128 - bits)
        return takes(`${hex(net)}/${bits}`, hex(address)) === (big(net) >> shift === big(address) >> shift)
      },
    ),
    { numRuns: 2000 },
  )
  t.pass('2000 of them')
})
