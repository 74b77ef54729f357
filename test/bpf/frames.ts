/** The frames that all data-plane tests are made of, held against scapy's idea of lengths and checksums. */
import { spawnSync } from 'node:child_process'
import t from 'tap'
import { counting, fromHex, hex } from '../fixtures/bytes.js'
import { checksum, onesComplementSum } from '../fixtures/checksum.js'
import {
  arp,
  authentication,
  destinationOptions,
  fragment,
  frame,
  hopByHop,
  ipv4,
  ipv6,
  routing,
} from '../fixtures/frames.js'
import { wrongChecksums } from '../fixtures/parse.js'
import { icmp, icmpv6, tcp, tcpFlags, udp } from '../fixtures/transport.js'

const ethernet = { to: '02:00:00:00:00:02', from: '02:00:00:00:00:01' }
const v4 = { from: '198.51.100.7', to: '192.0.2.10' }
const v6 = { from: '2001:db8::7', to: '2001:db8:ffff::10' }
const query = udp({ from: 40000, to: 53 }, counting(33))
const segment = tcp(
  { from: 40000, to: 80, seq: 0xfffffff0, ack: 77, flags: tcpFlags.PSH | tcpFlags.ACK, window: 512 },
  counting(101),
)

const samples: Record<string, Uint8Array> = {
  'TCP over IPv4': frame(ethernet, ipv4({ ...v4, dontFragment: true, id: 99, tos: 8 }, segment)),
  'TCP options': frame(ethernet, ipv4(v4, tcp({ from: 1, to: 80, options: fromHex('020405b4 0101 0402') }))),
  'UDP with an odd payload': frame(ethernet, ipv4(v4, query)),
  'UDP with IPv4 options': frame(ethernet, ipv4({ ...v4, options: fromHex('94040000 01') }, query)),
  'an IPv4 fragment': frame(ethernet, ipv4({ ...v4, moreFragments: true, fragmentOffset: 5 }, query)),
  'TCP over IPv6': frame(
    ethernet,
    ipv6({ ...v6, trafficClass: 3, flowLabel: 0xabcde, hopLimit: 3 }, segment),
  ),
  'UDP over IPv6': frame(ethernet, ipv6(v6, query)),
  'a chain of extension headers': frame(
    ethernet,
    ipv6({ ...v6, extensions: [hopByHop(1), destinationOptions(), routing(0), authentication(4)] }, query),
  ),
  'one VLAN tag': frame({ ...ethernet, tags: [{ tci: 0x2064 }] }, ipv4(v4, query)),
  'two VLAN tags': frame({ ...ethernet, tags: [{ tpid: 0x88a8, tci: 7 }, { tci: 9 }] }, ipv6(v6, segment)),
  'ICMP port unreachable': frame(ethernet, ipv4(v4, icmp({ type: 3, code: 3 }, counting(29)))),
  'ICMPv6 echo': frame(ethernet, ipv6(v6, icmpv6({ type: 128, code: 0, rest: 65537 }, counting(31)))),
  ARP: frame(ethernet, arp({ operation: 1, senderMac: ethernet.from, sender: v4.from, target: v4.to })),
}

/** Reads hex frames, one a line; takes lengths and checksums out, lets scapy fill them in, prints the frames. */
const SCAPY = `
import sys, logging
logging.getLogger('scapy').setLevel(logging.ERROR)
from scapy.all import Ether, raw
for line in sys.stdin:
    packet = Ether(bytes.fromhex(line.strip()))
    layer = packet
    while layer is not None and layer.name != 'NoPayload':
        if layer.name in ('IP', 'IPv6', 'TCP', 'UDP', 'ICMP') or layer.name.startswith('ICMPv6'):
            for name in ('len', 'plen', 'chksum', 'cksum', 'ihl', 'dataofs'):
                if name in layer.fields:
                    delattr(layer, name)
        layer = layer.payload
    print(layer is not None and raw(packet).hex())
`

/** Debian's own: that is the one that python3-scapy serves. */
const PYTHON = '/usr/bin/python3'
const hasScapy = spawnSync(PYTHON, ['-c', 'import scapy']).status === 0

t.test(
  'scapy computes the same lengths and checksums',
  { skip: hasScapy ? false : 'python3-scapy is missing' },
  async t => {
    const input = Object.values(samples).map(hex).join('\n')
    const { stdout, stderr, status } = spawnSync(PYTHON, ['-c', SCAPY], { input, encoding: 'utf8' })
    t.equal(status, 0, stderr)
    const answers = stdout.trim().split('\n')
    for (const [i, [name, bytes]] of Object.entries(samples).entries()) t.equal(answers[i], hex(bytes), name)
  },
)

t.test('a flipped bit is found by the checksum reader, an untouched frame is not', async t => {
  for (const [name, bytes] of Object.entries(samples)) {
    if (/ARP|chain|fragment/.test(name)) continue
    t.same(wrongChecksums(bytes), [], name)
    const flipped = Uint8Array.from(bytes)
    flipped[flipped.length - 1]! ^= 1
    t.equal(wrongChecksums(flipped).length, 1, name)
  }
})

t.test('the example of RFC 1071 section 3 sums up to its result', async t => {
  t.equal(onesComplementSum(fromHex('0001 f203 f4f5 f6f7')), 0xddf2)
})

t.test('a zero byte after an odd number of bytes changes no checksum', async t => {
  t.equal(checksum(counting(7)), checksum(counting(7), Uint8Array.of(0)))
})

t.test('a fragment header is 8 bytes with the offset in units of 8', async t => {
  t.equal(hex(fragment(3, true, 0x01020304).rest), '00001901020304')
})
