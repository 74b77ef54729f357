/** GRE: RFC 2784, the key of RFC 2890. */
import t from 'tap'
import { counting } from '../fixtures/bytes.js'
import { instance, sent } from '../fixtures/cases.js'
import { wrongChecksums } from '../fixtures/parse.js'
import { tunnel } from '../fixtures/tables.js'
import { tcp, udp } from '../fixtures/transport.js'
import { BACKEND, NODE, tunnelTables, VIPS, variantsOf } from '../fixtures/tunnels.js'
import { unwrap } from '../fixtures/unwrap.js'

const tables = tunnelTables()
const dataPlane = await instance(t, tables)

t.test('the header names the packet’s family, without checksum, sequence number or version', async t => {
  for (const { port, name, tunnel } of variantsOf('gre'))
    for (const vip of VIPS)
      for (const transport of [tcp({ from: 40000, to: port }), udp({ from: 40000, to: port }, counting(5))]) {
        const { verdict, packet } = dataPlane.run(sent(vip, transport))
        const { outer, gre } = unwrap(packet)
        t.equal(verdict, 'TX_GRE')
        t.equal(outer.protocol, 47)
        t.same(
          gre,
          {
            flags: tunnel.key === null ? 0 : 0x2000,
            protocol: vip.includes(':') ? 0x86dd : 0x0800,
            key: tunnel.key === null ? '' : '89abcdef',
          },
          name,
        )
        t.same(wrongChecksums(packet), [], name)
      }
})

t.test('a key of 0 is a key', async t => {
  const backends = tables.backends.map(backend => ({
    ...backend,
    tunnel: tunnel('gre', BACKEND, NODE, { key: 0 }),
  }))
  const keyed = await instance(t, { ...tables, backends })
  const { packet } = keyed.run(sent(VIPS[0], tcp({ from: 40000, to: 1001 })))
  t.match(unwrap(packet).gre, { flags: 0x2000, key: '00000000' })
})
