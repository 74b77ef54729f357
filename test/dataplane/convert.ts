import t from 'tap'
import { convertRecord, lackingFields } from '../../src/dataplane/convert.js'
import { backendLayout, forwardMode } from '../../src/dataplane/layout.js'
import { parseLayout } from '../../src/dataplane/map-layout.js'

/** A backend of a build without tunnels. */
const before = parseLayout(
  '64 dstMac@0+6 srcMac@6+6 ifindex@12+4 outPort@16+4 mode@20+1 flags@21+1 port@22+2 service@24+4 idle@28+2 addr@32+16',
)!
const record = (outPort: number): Uint8Array => {
  const bytes = Buffer.alloc(64)
  bytes.write('02000000000c0200000000fe', 0, 'hex')
  bytes.writeUInt32LE(7, 12)
  bytes.writeUInt32LE(outPort, 16)
  bytes[20] = forwardMode.FORWARD_DR
  bytes[21] = 3
  bytes.writeUInt16BE(80, 22)
  bytes.writeUInt32LE(513, 24)
  bytes.writeUInt16LE(225, 28)
  bytes.write('00000000000000000000ffff0a000001', 32, 'hex')
  return bytes
}

t.test('a number may have had another width, as long as it fits', async t => {
  t.same(lackingFields(before, backendLayout.fields), ['mtu', 'spread', 'key', 'source'])
  const lacking = backendLayout.encode({
    ...backendLayout.decode(new Uint8Array(64)),
    mtu: 1234,
  })
  t.match(backendLayout.decode(convertRecord(record(200), before, backendLayout, lacking)), {
    ifindex: 7,
    outPort: 200,
    mode: forwardMode.FORWARD_DR,
    flags: 3,
    mtu: 1234,
    service: 513,
    port: 80,
    idle: 225,
    spread: 0,
    key: 0,
  })
  t.throws(() => convertRecord(record(256), before, backendLayout), {
    name: 'RangeError',
    message: 'outPort has 4 bytes, of which 1 are not enough',
  })
})

t.test('what is no number must be as wide as it was', async t => {
  const other = parseLayout('64 dstMac@0+8 port@8+4 key@12+2')!
  t.same(
    lackingFields(other, backendLayout.fields).filter(name => ['dstMac', 'port', 'key'].includes(name)),
    ['dstMac', 'port', 'key'],
  )
})
