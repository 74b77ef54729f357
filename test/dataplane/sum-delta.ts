import fc from 'fast-check'
import t from 'tap'
import { addressBytes, addressFamily } from '../../src/address.js'
import { type End, keyOfDeltas, l3Delta, l4Delta } from '../../src/dataplane/sum-delta.js'
import { checksum } from '../fixtures/checksum.js'

/** Another one's arithmetic: big-endian words, as a packet has them, and the deltas' bytes swapped to match. */
const swapped = (delta: number): number => ((delta & 0xff) << 8) | (delta >> 8)
const added = (sum: number, delta: number): number => {
  const total = sum + delta
  return (total & 0xffff) + (total >> 16)
}
const wire = (address: string): Uint8Array =>
  addressFamily(address) === 4 ? addressBytes(address).subarray(12) : addressBytes(address)
const u16 = (value: number): number[] => [value >> 8, value & 0xff]

const v4 = fc.ipV4().filter(text => /^\d+\.\d+\.\d+\.\d+$/.test(text))
const v6 = fc.array(fc.nat(0xffff), { minLength: 8, maxLength: 8 }).map(groups => {
  const [first = 0, ...rest] = groups
  return [first | 0x2000, ...rest].map(group => group.toString(16)).join(':')
})
const port = fc.integer({ min: 1, max: 65535 })
const families = fc.oneof(fc.tuple(v4, v4, v4), fc.tuple(v6, v6, v6))

const end = (address: string, port: number): End => ({ addr: addressBytes(address), port })

t.test('a checksum that is changed by its delta is the one that is computed anew', async t => {
  fc.assert(
    fc.property(
      families,
      port,
      port,
      port,
      fc.uint8Array({ minLength: 8, maxLength: 20 }),
      ([client, vip, backend], clientPort, vipPort, backendPort, rest) => {
        const padded = rest.length % 2 === 0 ? [...rest] : [...rest, 0]
        const l4 = (to: string, toPort: number) =>
          checksum(
            Uint8Array.from([...wire(client), ...wire(to), ...u16(clientPort), ...u16(toPort), ...padded]),
          )
        const l3 = (to: string) => checksum(Uint8Array.from([...wire(client), ...wire(to), 0x45, 0]))
        const same = (a: number, b: number): boolean => a % 0xffff === b % 0xffff
        const [from, to] = [end(vip, vipPort), end(backend, backendPort)]
        const request = added(~l4(vip, vipPort) & 0xffff, swapped(l4Delta(from, to)))
        const back = added(~l4(backend, backendPort) & 0xffff, swapped(l4Delta(to, from)))
        const header = added(~l3(vip) & 0xffff, swapped(l3Delta(from, to)))
        return (
          same(request, ~l4(backend, backendPort) & 0xffff) &&
          same(back, ~l4(vip, vipPort) & 0xffff) &&
          same(header, ~l3(backend) & 0xffff)
        )
      },
    ),
    { numRuns: 2000 },
  )
  t.pass('2000 packets')
})

t.test('where one end keeps the packet’s own port, the ports are no part of it', async t => {
  const [vip, backend] = ['192.0.2.1', '10.0.0.1']
  t.equal(l4Delta(end(vip, 0), end(backend, 0)), l3Delta(end(vip, 80), end(backend, 8080)))
  t.equal(l4Delta(end(vip, 0), end(backend, 8080)), l3Delta(end(vip, 0), end(backend, 0)))
  t.not(l4Delta(end(vip, 80), end(backend, 8080)), l3Delta(end(vip, 80), end(backend, 8080)))
})

t.test('the key of a record has both, in the words of memory', async t => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, keyOfDeltas(0x1234, 0xabcd))
  t.same([...new Uint16Array(bytes.buffer)], [0x1234, 0xabcd])
})
