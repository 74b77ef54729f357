import t from 'tap'
import { mappedAddress } from '../fixtures/addresses.js'
import { concat } from '../fixtures/bytes.js'
import {
  ANY_PORT_VIP,
  ANY_PORT_VIP6,
  caseTables,
  fromClient,
  instance,
  sent,
  VIP,
  VIP6,
  withMacs,
} from '../fixtures/cases.js'
import { frame, ipv6 } from '../fixtures/frames.js'
import { seededRandom } from '../fixtures/random.js'
import { backendEntry, entryInterface, hashKeys, serviceEntry } from '../fixtures/tables.js'
import { tcp, udp } from '../fixtures/transport.js'

const dataPlane = await instance(t)
const serviceOf = (to: string, transport = tcp({ from: 40000, to: 80 })): string | undefined =>
  dataPlane.run(sent(to, transport)).service?.name

t.test('a service is found by address, port and protocol together', async t => {
  for (const vip of [VIP, VIP6]) {
    t.equal(serviceOf(vip), 'web')
    t.equal(serviceOf(vip, udp({ from: 40000, to: 53 })), 'dns')
    t.equal(serviceOf(vip, tcp({ from: 40000, to: 53 })), undefined, 'the port, but the other protocol')
    t.equal(serviceOf(vip, udp({ from: 40000, to: 80 })), undefined, 'the other protocol, but the port')
    t.equal(serviceOf(vip, tcp({ from: 80, to: 40000 })), undefined, 'the source port does not count')
    t.equal(serviceOf(vip, tcp({ from: 40000, to: 80 * 256 })), undefined, 'byte order counts')
  }
})

t.test('one differing bit anywhere in the address makes it no service’s', async t => {
  for (const [vip, at, size] of [
    [VIP, 30, 4],
    [VIP6, 38, 16],
  ] as const) {
    const bytes = Uint8Array.from(sent(vip, tcp({ from: 40000, to: 80 })))
    for (let bit = 0; bit < size * 8; bit++) {
      bytes[at + (bit >> 3)]! ^= 1 << (bit & 7)
      t.equal(dataPlane.run(bytes).verdict, 'PASS_NOT_A_SERVICE', `${vip} bit ${bit}`)
      bytes[at + (bit >> 3)]! ^= 1 << (bit & 7)
    }
  }
})

t.test('an IPv4 service is not reached by its address mapped into IPv6', async t => {
  const bytes = frame(
    fromClient,
    ipv6({ from: mappedAddress('198.51.100.7'), to: mappedAddress(VIP) }, tcp({ from: 40000, to: 80 })),
  )
  t.match(dataPlane.run(bytes), { verdict: 'PASS_NOT_A_SERVICE', service: null, packet: bytes })
})

t.test('a service of port 0 takes every port of its protocol', async t => {
  for (const vip of [ANY_PORT_VIP, ANY_PORT_VIP6]) {
    for (const port of [0, 1, 53, 80, 8079, 8081, 65535])
      t.equal(serviceOf(vip, tcp({ from: 40000, to: port })), 'any-port', `port ${port}`)
    t.equal(serviceOf(vip, udp({ from: 40000, to: 80 })), undefined)
  }
})

t.test('a service of one port goes before the one of every port', async t => {
  for (const vip of [ANY_PORT_VIP, ANY_PORT_VIP6])
    t.equal(serviceOf(vip, tcp({ from: 40000, to: 8080 })), 'one-port')
})

t.test('port 0 is no service’s where none takes every port', async t => {
  t.equal(serviceOf(VIP, tcp({ from: 40000, to: 0 })), undefined)
})

t.test('a packet of no service is the host’s, to whatever MAC address', async t => {
  const bytes = withMacs(sent(VIP, tcp({ from: 40000, to: 22 })), '02:ff:ff:ff:ff:ff', '02:00:00:00:00:09')
  t.match(dataPlane.run(bytes), { action: 'PASS', verdict: 'PASS_NOT_A_SERVICE', packet: bytes })
})

t.test('a service’s packet by an interface that takes part in nothing is the host’s', async t => {
  const bytes = sent(VIP, tcp({ from: 40000, to: 80 }))
  for (const ifindex of [2, 17]) {
    const other = await instance(t, { ...caseTables, interfaces: [{ ...entryInterface, ifindex }] })
    t.match(
      other.run(bytes),
      { action: 'PASS', verdict: 'PASS_OTHER_HOST', packet: bytes },
      `only ${ifindex} does`,
    )
  }
  const none = await instance(t, { ...caseTables, interfaces: [] })
  t.equal(none.run(bytes).verdict, 'PASS_OTHER_HOST', 'none does')
})

t.test('each of thirty services of one address is found, and their neighbours are not', async t => {
  const random = seededRandom(3)
  const ports = new Set<number>()
  while (ports.size < 30) ports.add(random.between(1, 65535))
  const services = [...ports].map((port, id) =>
    serviceEntry(id, { vip: VIP, port, owners: [1], ringSize: 1 }),
  )
  const tables = {
    hashKeys,
    services,
    backends: [backendEntry(1, 0)],
    interfaces: [entryInterface],
    vips: [],
  }
  const many = await instance(t, tables)
  const found = (port: number): number | undefined =>
    many.run(sent(VIP, tcp({ from: 40000, to: port }))).service?.port
  for (const port of ports) {
    t.equal(found(port), port)
    const next = (port + 1) % 65536
    t.equal(found(next), ports.has(next) ? next : undefined)
  }
})

t.test('trailing bytes behind the packet are not taken for its ports', async t => {
  const cut = sent(VIP, tcp({ from: 40000, to: 80 }), { ip: { totalLength: 20 } })
  t.equal(dataPlane.run(concat(cut, cut)).verdict, 'PASS_TRUNCATED')
})
