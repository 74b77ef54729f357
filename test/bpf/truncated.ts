/** Every frame cut at every length: the verdict is the model's, and nothing is written that should not be. */
import t from 'tap'
import { counting, sameBytes } from '../fixtures/bytes.js'
import {
  ANY_PORT_VIP,
  ANY_PORT_VIP6,
  caseTables,
  DOWN_VIP,
  DOWN_VIP6,
  instance,
  OTHER,
  OTHER6,
  sent,
  VIP,
  VIP6,
} from '../fixtures/cases.js'
import { difference, modelAnswer } from '../fixtures/compare.js'
import { authentication, destinationOptions, fragment, hopByHop, routing } from '../fixtures/frames.js'
import { tcp, tcpFlags, udp } from '../fixtures/transport.js'

const dataPlane = await instance(t)
const segment = tcp({ from: 40000, to: 80, flags: tcpFlags.PSH, options: counting(12) }, counting(30))
const query = udp({ from: 40000, to: 53 }, counting(30))
const chain = [hopByHop(1), routing(0), authentication(4), destinationOptions()]
const twoTags = [{ tpid: 0x88a8, tci: 7 }, { tci: 9 }]

const whole: Record<string, Uint8Array> = {}
for (const [kind, vip, other, down, any] of [
  ['IPv4', VIP, OTHER, DOWN_VIP, ANY_PORT_VIP],
  ['IPv6', VIP6, OTHER6, DOWN_VIP6, ANY_PORT_VIP6],
] as const) {
  const ip = kind === 'IPv4' ? { options: counting(24) } : { extensions: chain }
  whole[`${kind} TCP`] = sent(vip, segment)
  whole[`${kind} UDP`] = sent(vip, query)
  whole[`${kind} TCP behind two tags`] = sent(vip, segment, { ethernet: { tags: twoTags } })
  whole[`${kind} UDP behind options`] = sent(vip, query, { ip, ethernet: { tags: [{ tci: 1 }] } })
  whole[`${kind} TCP by another interface`] = sent(vip, tcp({ from: 40000, to: 82 }))
  whole[`${kind} TCP to every port`] = sent(any, segment)
  whole[`${kind} TCP to no service`] = sent(other, segment, { ip })
  whole[`${kind} TCP to no backend`] = sent(down, segment, { ip })
  whole[`${kind} UDP to no backend`] = sent(down, query, { ethernet: { tags: twoTags } })
  whole[`${kind} UDP to no backend, long`] = sent(down, udp({ from: 40000, to: 53 }, counting(1400)))
}
whole['IPv4 fragment'] = sent(VIP, segment, { ip: { moreFragments: true } })
whole['IPv6 fragment'] = sent(VIP6, segment, { ip: { extensions: [hopByHop(), fragment(0, true)] } })
whole['five extension headers'] = sent(VIP6, segment, { ip: { extensions: [...chain, hopByHop()] } })

for (const [name, bytes] of Object.entries(whole))
  t.test(`${name}: cut at every length from 14 bytes on`, async t => {
    const cuts = Array.from({ length: bytes.length - 13 }, (_, i) => bytes.subarray(0, 14 + i))
    for (const [i, answer] of dataPlane.runAll(cuts).entries()) {
      const cut = cuts[i]!
      const found = difference(cut, answer, modelAnswer(caseTables, cut))
      if (found !== null) t.fail(`${cut.length} bytes: not as the model has it`, { ...found })
      if (answer.action === 'ABORTED') t.fail(`${cut.length} bytes: aborted`)
      const isUntouched = ['PASS', 'DROP'].includes(answer.action)
      if (isUntouched && !sameBytes(answer.packet, cut))
        t.fail(`${cut.length} bytes: ${answer.verdict} changed the frame`)
      if (/_DR$/.test(answer.verdict) && !sameBytes(answer.packet.subarray(12), cut.subarray(12)))
        t.fail(`${cut.length} bytes: more than the MAC addresses changed`)
    }
  })
