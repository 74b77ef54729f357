import t from 'tap'
import { addressBytes, shortAddressBytes } from '../src/address.js'
import { createInterfaceAddresses, interfaceAddresses } from '../src/interface-addresses.js'
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

t.test('addresses are followed', async t => {
  let all = [address('10.0.0.1', 1)]
  let companion: Companion | null = null
  let changes = 0
  const followed = await createInterfaceAddresses(
    { addresses: async () => all },
    {
      accompany: one => {
        companion = one
      },
    },
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
})
