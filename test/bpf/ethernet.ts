import t from 'tap'
import { counting, fromHex } from '../fixtures/bytes.js'
import { CLIENT, fromClient, instance, sent, toDirect, VIP, VIP6 } from '../fixtures/cases.js'
import { arp, frame, raw } from '../fixtures/frames.js'
import { BALANCER_MAC, CLIENT_MAC } from '../fixtures/tables.js'
import { tcp } from '../fixtures/transport.js'

const dataPlane = await instance(t)
const syn = tcp({ from: 40000, to: 80 })

const tags = {
  'no VLAN tag': [],
  'one VLAN tag': [{ tci: 100 }],
  'one service tag': [{ tpid: 0x88a8, tci: 100 }],
  'two VLAN tags': [{ tpid: 0x88a8, tci: 100 }, { tci: 0xe065 }],
  'two tags of 802.1Q': [{ tci: 1 }, { tci: 2 }],
}

for (const [name, list] of Object.entries(tags)) {
  for (const vip of [VIP, VIP6]) {
    t.test(`a packet to ${vip} with ${name} goes to the backend, its tags as they came`, async t => {
      const bytes = sent(vip, syn, { ethernet: { tags: list } })
      const { action, verdict, packet } = dataPlane.run(bytes)
      t.same({ action, verdict }, { action: 'TX', verdict: 'TX_DR' })
      t.same(packet, toDirect(bytes))
    })
  }
}

t.test('a third VLAN tag is not looked behind', async t => {
  for (const vip of [VIP, VIP6]) {
    const bytes = sent(vip, syn, { ethernet: { tags: [{ tci: 1 }, { tci: 2 }, { tci: 3 }] } })
    t.match(dataPlane.run(bytes), { action: 'PASS', verdict: 'PASS_NOT_IP', service: null, packet: bytes })
  }
})

t.test('a tag of another TPID is no VLAN tag', async t => {
  const bytes = sent(VIP, syn, { ethernet: { tags: [{ tpid: 0x9100, tci: 1 }] } })
  t.equal(dataPlane.run(bytes).verdict, 'PASS_NOT_IP')
})

t.test('a frame that ends within a VLAN tag is truncated', async t => {
  const bytes = sent(VIP, syn, { ethernet: { tags: [{ tci: 1 }, { tci: 2 }] } })
  for (const length of [14, 15, 16, 17, 18, 19, 20, 21])
    t.equal(dataPlane.run(bytes.subarray(0, length)).verdict, 'PASS_TRUNCATED', `${length} bytes`)
})

t.test('ARP is the host’s, byte for byte', async t => {
  const bytes = frame(fromClient, arp({ operation: 1, senderMac: CLIENT_MAC, sender: CLIENT, target: VIP }))
  t.match(dataPlane.run(bytes), {
    action: 'PASS',
    verdict: 'PASS_NOT_IP',
    service: null,
    backend: null,
    packet: bytes,
  })
})

t.test('other EtherTypes and 802.3 lengths are no IP', async t => {
  for (const etherType of [0x0026, 0x0801, 0x86de, 0x88cc, 0x8847, 0x0008, 0xdd86]) {
    const bytes = frame(fromClient, raw(etherType, counting(60)))
    t.match(dataPlane.run(bytes), { verdict: 'PASS_NOT_IP', packet: bytes }, etherType.toString(16))
  }
})

t.test('a frame of 14 bytes is enough for a verdict', async t => {
  t.equal(dataPlane.run(frame(fromClient, raw(0x0806, fromHex('')))).verdict, 'PASS_NOT_IP')
  t.equal(dataPlane.run(frame(fromClient, raw(0x0800, fromHex('')))).verdict, 'PASS_TRUNCATED')
  t.equal(dataPlane.run(frame(fromClient, raw(0x86dd, fromHex('')))).verdict, 'PASS_TRUNCATED')
})

t.test('a frame to another MAC address is not ours, whichever byte differs', async t => {
  for (const vip of [VIP, VIP6])
    for (let byte = 0; byte < 6; byte++) {
      const bytes = Uint8Array.from(sent(vip, syn))
      bytes[byte]! ^= 0x10
      t.match(dataPlane.run(bytes), {
        action: 'PASS',
        verdict: 'PASS_OTHER_HOST',
        backend: null,
        packet: bytes,
      })
    }
})

t.test('the source MAC address does not matter to a service with backends', async t => {
  const bytes = sent(VIP, syn, { ethernet: { from: 'ff:ff:ff:ff:ff:ff', to: BALANCER_MAC } })
  t.equal(dataPlane.run(bytes).verdict, 'TX_DR')
})
