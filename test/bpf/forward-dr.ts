import t from 'tap'
import { counting, hex } from '../fixtures/bytes.js'
import { caseTables, instance, sent, VIP, VIP6, withMacs } from '../fixtures/cases.js'
import { backendEntry, OUT_MAC } from '../fixtures/tables.js'
import { tcp, tcpFlags, udp } from '../fixtures/transport.js'

const dataPlane = await instance(t)

t.test('the two MAC addresses change, and no other byte', async t => {
  for (const vip of [VIP, VIP6])
    for (const size of [0, 1, 100, 1400]) {
      const bytes = sent(vip, tcp({ from: 40000, to: 80, flags: tcpFlags.ACK }, counting(size)))
      const { packet } = dataPlane.run(bytes)
      t.equal(hex(packet.subarray(0, 12)), '020000000b01' + '0200000000fe')
      t.equal(hex(packet.subarray(12)), hex(bytes.subarray(12)), `${vip}, ${size} bytes of payload`)
    }
})

t.test('a backend by the entry interface is sent to with XDP_TX', async t => {
  for (const vip of [VIP, VIP6])
    t.match(dataPlane.run(sent(vip, tcp({ from: 40000, to: 80 }))), {
      action: 'TX',
      verdict: 'TX_DR',
      backend: { id: 1 },
    })
})

t.test('a backend by another interface is redirected to, with that interface’s MAC address', async t => {
  for (const vip of [VIP, VIP6]) {
    const bytes = sent(vip, tcp({ from: 40000, to: 82 }))
    const { action, verdict, backend, packet } = dataPlane.run(bytes)
    t.same(
      { action, verdict, backend: backend?.id },
      { action: 'REDIRECT', verdict: 'REDIRECT_DR', backend: 3 },
    )
    t.same(packet, withMacs(bytes, '02:00:00:00:0b:03', OUT_MAC))
  }
})

t.test('a backend whose next hop is unresolved gets nothing, and is named', async t => {
  for (const vip of [VIP, VIP6]) {
    const bytes = sent(vip, tcp({ from: 40000, to: 81 }))
    t.match(dataPlane.run(bytes), {
      action: 'DROP',
      verdict: 'DROP_NO_NEXT_HOP',
      service: { name: 'unresolved' },
      backend: { id: 2 },
      packet: bytes,
    })
  }
})

t.test('any TCP flags and any port of the client go to the backend', async t => {
  for (let flags = 0; flags < 256; flags += 5)
    t.equal(
      dataPlane.run(sent(VIP, tcp({ from: flags * 257, to: 80, flags }))).verdict,
      'TX_DR',
      `flags ${flags}`,
    )
})

t.test('a wrong data offset, UDP length or checksum is the backend’s business', async t => {
  for (const vip of [VIP, VIP6]) {
    for (const dataOffset of [0, 4, 15])
      t.equal(dataPlane.run(sent(vip, tcp({ from: 40000, to: 80, dataOffset }))).verdict, 'TX_DR')
    t.equal(dataPlane.run(sent(vip, udp({ from: 40000, to: 53, length: 0, checksum: 1 }))).verdict, 'TX_DR')
  }
})

t.test('MAC addresses of all bits are written whole', async t => {
  const extreme = { nextHopMac: 'fe:dc:ba:98:76:54', interfaceMac: '02:13:57:9b:df:f1' }
  const backends = [backendEntry(1, 0, extreme), ...caseTables.backends.slice(1)]
  const other = await instance(t, { ...caseTables, backends })
  const bytes = sent(VIP, tcp({ from: 40000, to: 80 }))
  t.same(other.run(bytes).packet, withMacs(bytes, extreme.nextHopMac, extreme.interfaceMac))
})

t.test('a source address of no host is not looked at where there is a backend', async t => {
  for (const from of ['127.0.0.1', '0.0.0.0', '224.0.0.1', VIP])
    t.equal(dataPlane.run(sent(VIP, tcp({ from: 40000, to: 80 }), { ip: { from } })).verdict, 'TX_DR', from)
})
