import t from 'tap'
import { addressBytes, shortAddressBytes } from '../src/address.js'
import { parseConfig } from '../src/config.js'
import { claimedAddresses, createInterfaceAddresses, interfaceAddresses } from '../src/interface-addresses.js'
import type { NetlinkAddress } from '../src/native.js'
import type { Companion } from '../src/next-hops.js'

const SECONDARY = 0x01
const DEPRECATED = 0x20
const TENTATIVE = 0x40
const LINK = 253
const HOST = 254

const address = (text: string, ifindex: number, changes: Partial<NetlinkAddress> = {}): NetlinkAddress => ({
  ifindex,
  address: shortAddressBytes(text),
  prefixLength: 24,
  scope: 0,
  flags: 0,
  ...changes,
})
const none = { addr4: 0, addr6: new Uint8Array(16) }

t.test("an interface's own primary address of each family", async t => {
  const all = [
    address('10.0.0.9', 2),
    address('10.0.0.1', 1),
    address('10.0.0.2', 1, { flags: SECONDARY }),
    address('fe80::1', 1, { scope: LINK }),
    address('fd00::2', 1, { flags: DEPRECATED }),
    address('fd00::3', 1, { flags: SECONDARY }),
    address('fd00::4', 1, { flags: TENTATIVE }),
    address('fd00::1', 1),
  ]
  t.same(interfaceAddresses(all, 1), { addr4: 0x0a000001, addr6: addressBytes('fd00::1') })
  t.same(interfaceAddresses(all, 2), { addr4: 0x0a000009, addr6: addressBytes('fd00::1') })
})

t.test('an address with a first byte above 127 is no negative number', async t => {
  t.equal(interfaceAddresses([address('203.0.113.1', 1)], 1).addr4, 0xcb007101)
})

t.test('without one of its own, one that is valid everywhere; else what there is', async t => {
  const own = address('fe80::1', 1, { scope: LINK })
  t.same(interfaceAddresses([own], 1), { ...none, addr6: addressBytes('fe80::1') })
  t.same(interfaceAddresses([own, address('fd00::7', 7)], 1).addr6, addressBytes('fd00::7'))
  t.same(interfaceAddresses([address('127.0.0.1', 1, { scope: HOST })], 1), none)
  t.same(interfaceAddresses([], 1), none)
})

t.test('one that is a VIP or a local address, or has no subnet, comes last', async t => {
  const { config } = parseConfig(
    JSON.stringify({
      interfaces: ['eth0'],
      'local-addresses': ['10.0.0.100', 'fd00::100'],
      snat: ['10.2.0.0/24'],
      services: {
        web: {
          vip: '2001:db8::10',
          port: 80,
          forward: 'fullnat',
          'local-addresses': 'fd00::200',
          backends: [{ address: 'fd00:2::1' }],
        },
      },
    }),
  )
  const claimed = claimedAddresses(config)
  t.same([...claimed].toSorted(), ['10.0.0.100', '2001:db8::10', 'fd00::100', 'fd00::200'])
  const own6 = (...all: NetlinkAddress[]): Uint8Array => interfaceAddresses(all, 1, claimed).addr6
  const host = { prefixLength: 128 }
  const vip = address('2001:db8::10', 1, host)
  const pool = address('fd00::100', 1)
  const service = address('fd00::200', 1)
  const alone = address('2001:db8::20', 1, host)
  const old = address('fd00::2', 1, { flags: DEPRECATED })
  const other = address('fd00:7::7', 7)
  const link = address('fe80::1', 1, { scope: LINK })
  t.same(own6(link, vip, pool, service, alone, other, old), addressBytes('fd00::2'), 'its own in a subnet')
  t.same(own6(link, vip, pool, service, other, alone), addressBytes('2001:db8::20'), 'its own without one')
  t.same(own6(link, vip, pool, service, other), addressBytes('fd00:7::7'), "another interface's")
  t.same(own6(link, vip), addressBytes('2001:db8::10'), 'the VIP, when there is nothing else')
  t.same(own6(link, vip, service), addressBytes('fd00::200'))
  const own4 = (...all: NetlinkAddress[]): number => interfaceAddresses(all, 1, claimed).addr4
  t.equal(own4(address('10.0.0.100', 1), address('10.0.0.9', 1, { prefixLength: 32 })), 0x0a000009)
  t.equal(own4(address('10.0.0.9', 1, { prefixLength: 32 }), address('10.0.0.2', 1)), 0x0a000002)
})

t.test('addresses are followed', async t => {
  let all = [address('10.0.0.1', 1)]
  let companion: Companion | null = null
  let changes = 0
  let claimed = new Set<string>()
  const followed = await createInterfaceAddresses(
    { addresses: async () => all },
    {
      accompany: one => {
        companion = one
      },
    },
    () => claimed,
    () => {
      changes++
    },
    error => t.fail(String(error)),
  )
  t.equal(followed.of(1).addr4, 0x0a000001)
  all = [address('10.0.0.2', 1)]
  const what = { links: false, neighbours: false, routes: true }
  companion!.changed({ ...what, addresses: false })
  await new Promise(resolve => setImmediate(resolve))
  t.equal(followed.of(1).addr4, 0x0a000001, 'no address has changed')
  companion!.changed({ ...what, addresses: true })
  await new Promise(resolve => setImmediate(resolve))
  t.equal(followed.of(1).addr4, 0x0a000002)
  t.equal(changes, 1)
  all = [address('10.0.0.2', 1), address('10.0.0.3', 1)]
  companion!.changed({ ...what, addresses: true })
  await new Promise(resolve => setImmediate(resolve))
  t.equal(followed.of(1).addr4, 0x0a000002)
  claimed = new Set(['10.0.0.2'])
  t.equal(followed.of(1).addr4, 0x0a000003, 'what is wanted by then counts')
})
