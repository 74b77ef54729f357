/** Packets that no way out takes, by a way in that is wider: what their senders are told, and what is only counted. */
import t from 'tap'
import { hex } from '../fixtures/bytes.js'
import { startCapture } from '../fixtures/capture.js'
import { icmpMessage, isFrom, isTo, readPackets } from '../fixtures/captured-packets.js'
import { addOwnAddresses, CLIENT, direct, everyWay, tunnelled, type Way } from '../fixtures/path-mtu-site.js'
import { complaintsAbout } from '../fixtures/pcap.js'
import { openRouted } from '../fixtures/routed-site.js'
import { send } from '../fixtures/scapy.js'
import { countVerdicts, skip, startOn } from '../fixtures/site.js'

const MTU = 1500
const WIDE = 3000

/** tshark adds up a quoted segment as if it were whole. */
const isCutQuote = (line: string): boolean => /icmp(:ip|v6:ipv6):tcp\tBad checksum/.test(line)

t.test('packets longer than the way out takes', { skip }, async t => {
  const ways = [...direct, ...tunnelled]
  const vips = ways.map(({ vip }) => vip)
  const wide = { lan: WIDE, wan: WIDE, front: WIDE }
  const lab = await openRouted(t, { vips, isNear: true, mtu: wide }, addOwnAddresses)
  const daemon = startOn(lab, everyWay(lab))
  await daemon.ready()
  const [client, access] = lab.links.get('lan')!
  const ends = { client, front: lab.links.get('front')![0] }

  /** Sends a packet by each way. @returns what went to the balancer, what came back, and how it was counted */
  const exchange = async (by: readonly Way[], packetOf: (way: Way) => string) => {
    const before = await countVerdicts(daemon)
    const capture = await startCapture(lab.directory, ends)
    await send(client, access, by.map(packetOf))
    const files = await capture.end()
    const after = await countVerdicts(daemon)
    for (const [end, file] of Object.entries(files))
      t.same(
        complaintsAbout(file).filter(line => !isCutQuote(line)),
        [],
        end,
      )
    return {
      sent: readPackets(files.front!),
      answers: readPackets(files.client!).filter(
        packet => icmpMessage(packet) !== null && vips.some(vip => isFrom(packet, vip)),
      ),
      grown: Object.fromEntries(
        Object.keys(after)
          .map(name => [name, after[name]! - (before[name] ?? 0)] as const)
          .filter(([name, count]) => count > 0 && /^DROP|^TX|^REDIRECT/.test(name)),
      ),
    }
  }
  /** A TCP packet of so many bytes. */
  const packet = ({ inner, vip }: Way, bytes: number, fragments: '' | 'DF') => {
    const ip =
      inner === 4
        ? `IP(src="${CLIENT[4]}",dst="${vip}",flags="${fragments}")`
        : `IPv6(src="${CLIENT[6]}",dst="${vip}")`
    return `${ip}/TCP(sport=20001,dport=80,flags="A")/Raw(b"x"*${bytes - (inner === 4 ? 40 : 60)})`
  }

  await t.test(
    'not to be fragmented: the sender is told the length, by the VIP, with its packet',
    async t => {
      const { sent, answers, grown } = await exchange(ways, way => packet(way, MTU - way.overhead + 1, 'DF'))
      t.same(grown, { TX_TOO_BIG: ways.length })
      for (const { name, inner, vip, overhead } of ways) {
        const [answer, ...more] = answers.filter(packet => isFrom(packet, vip)).map(icmpMessage)
        t.same(more, [], `${name}: one answer`)
        const tooBig = inner === 4 ? { type: 3, code: 4 } : { type: 2, code: 0 }
        t.match(answer, { ...tooBig, mtu: MTU - overhead }, name)
        const asked = sent.find(one => isTo(one, vip))!
        const { quote } = answer!
        t.ok(quote.length >= (inner === 4 ? 28 : 1200), `${name}: ${quote.length} bytes of it`)
        t.same(hex(quote), hex(asked.subarray(0, quote.length)), `${name}: as it came`)
      }
    },
  )

  await t.test('that just fit go their way', async t => {
    const { answers, grown } = await exchange(ways, way => packet(way, MTU - way.overhead, 'DF'))
    t.notOk(grown.TX_TOO_BIG)
    t.same(answers.map(hex), [])
    t.equal(
      ['DR', 'IPIP', 'GRE', 'GUE'].reduce((sum, mode) => sum + (grown[`REDIRECT_${mode}`] ?? 0), 0),
      ways.length,
    )
  })

  await t.test('that might be fragmented are dropped, and counted', async t => {
    const four = ways.filter(({ inner }) => inner === 4)
    const { answers, grown } = await exchange(four, way => packet(way, MTU - way.overhead + 1, ''))
    t.same(grown, { DROP_TOO_BIG: four.length })
    t.same(answers.map(hex), [])
  })
})
