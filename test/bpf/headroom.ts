/** A driver that leaves too little room ahead of the frame: said, never a silent loss. */
import t from 'tap'
import { counting } from '../fixtures/bytes.js'
import { instance, sent } from '../fixtures/cases.js'
import { tcp, tcpFlags } from '../fixtures/transport.js'
import { tunnelTables, VIPS, variants } from '../fixtures/tunnels.js'

/** Of the kernel's test run; less what struct xdp_frame takes of it. */
const HEADROOM = 256 - 40
const dataPlane = await instance(t, tunnelTables())

t.test('a tunnel takes exactly the room of its headers', async t => {
  for (const { port, name, overhead, tunnel } of variants)
    for (const vip of VIPS) {
      const bytes = sent(vip, tcp({ from: 40000, to: port, flags: tcpFlags.ACK }, counting(50)))
      const enough = dataPlane.run(bytes, HEADROOM - overhead)
      t.equal(enough.verdict, `TX_${tunnel.mode.toUpperCase()}`, `${vip}, ${name}`)
      t.equal(enough.packet.length, bytes.length + overhead)
      t.match(
        dataPlane.run(bytes, HEADROOM - overhead + 4),
        { action: 'DROP', verdict: 'DROP_NO_HEADROOM' },
        `${vip}, ${name}`,
      )
    }
})
