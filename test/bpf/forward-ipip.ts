/** IP in IP: RFC 2003 (4in4), 4213 (6in4), 2473 (4in6, 6in6). */
import t from 'tap'
import { counting } from '../fixtures/bytes.js'
import { instance, sent } from '../fixtures/cases.js'
import { wrongChecksums } from '../fixtures/parse.js'
import { tcp, udp } from '../fixtures/transport.js'
import { tunnelTables, VIPS, variantsOf } from '../fixtures/tunnels.js'
import { unwrap } from '../fixtures/unwrap.js'

const dataPlane = await instance(t, tunnelTables())

t.test('the outer header carries protocol 4 or 41, and nothing lies between it and the packet', async t => {
  for (const { port, overhead, name, tunnel } of variantsOf('ipip'))
    for (const vip of VIPS)
      for (const transport of [tcp({ from: 40000, to: port }), udp({ from: 40000, to: port }, counting(5))]) {
        const bytes = sent(vip, transport)
        const { verdict, packet } = dataPlane.run(bytes)
        const { outer } = unwrap(packet)
        t.equal(verdict, 'TX_IPIP')
        t.equal(outer.protocol, vip.includes(':') ? 41 : 4, name)
        t.equal(overhead, tunnel.to.includes(':') ? 40 : 20)
        t.equal(outer.length, bytes.length - 14 + overhead)
        t.same(wrongChecksums(packet), [], name)
      }
})
