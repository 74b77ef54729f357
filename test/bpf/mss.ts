/** `mss: clamp`: the MSS option of a SYN, RFC 9293 3.7.1; the checksum by RFC 1624. */
import t from 'tap'
import { concat, counting, hex, readU16, u16 } from '../fixtures/bytes.js'
import { instance, sent } from '../fixtures/cases.js'
import { destinationOptions } from '../fixtures/frames.js'
import { wrongChecksumsOf } from '../fixtures/parse.js'
import { tcp, tcpFlags, udp } from '../fixtures/transport.js'
import { tunnelTables, VIPS, variants } from '../fixtures/tunnels.js'
import { unwrap } from '../fixtures/unwrap.js'

const { SYN, ACK, RST, FIN } = tcpFlags
const dataPlane = await instance(t, tunnelTables({ clampsMss: true }))
const is6 = (vip: string): boolean => vip.includes(':')
const [first] = variants
const mss = (value: number): Uint8Array => concat(Uint8Array.of(2, 4), u16(value))

/** The options as they arrive in the tunnel, after those that were sent. */
const arrived = (vip: string, options: Uint8Array, flags: number = SYN, port = first!.port): Uint8Array => {
  const bytes = sent(vip, tcp({ from: 40000, to: port, flags, options }, counting(3)))
  const { inner } = unwrap(dataPlane.run(bytes).packet)
  t.same(wrongChecksumsOf(inner), [], `checksums with ${hex(options)}`)
  t.equal(inner.length, bytes.length - 14)
  return inner.subarray(is6(vip) ? 60 : 40, (is6(vip) ? 60 : 40) + options.length)
}

t.test('the MSS is lowered to what the path takes, by every tunnel', async t => {
  for (const { port, name, overhead } of variants)
    for (const vip of VIPS) {
      const most = 1500 - overhead - (is6(vip) ? 60 : 40)
      for (const asked of [most + 1, 1460, 8960, 65535])
        t.equal(hex(arrived(vip, mss(asked), SYN, port)), hex(mss(most)), `${vip}, ${name}, ${asked}`)
      for (const asked of [most, most - 1, 536, 1, 0])
        t.equal(hex(arrived(vip, mss(asked), SYN, port)), hex(mss(asked)), `${vip}, ${name}, ${asked}`)
    }
})

t.test('at any byte, among any options, and nothing but it changes', async t => {
  const others = {
    'no operation': [1],
    'window scale': [3, 3, 7],
    'SACK permitted': [4, 2],
    timestamps: [8, 10, 0, 0, 0, 2, 2, 4, 0xff, 0xff],
    'one that looks like it': [9, 6, 2, 4, 0xff, 0xff],
  }
  for (const vip of VIPS) {
    const most = 1500 - first!.overhead - (is6(vip) ? 60 : 40)
    for (const [name, before] of Object.entries(others))
      for (const times of [1, 2, 3]) {
        const ahead = Uint8Array.from(Array.from({ length: times }, () => before).flat())
        const given = (value: number): Uint8Array => concat(ahead, mss(value), Uint8Array.of(1, 3, 3, 9))
        if (given(0).length > 40) continue
        t.equal(hex(arrived(vip, given(9000))), hex(given(most)), `${vip}, after ${times} of ${name}`)
      }
    const none = concat(Uint8Array.from(Array.from({ length: 36 }, () => 1)), mss(9000))
    t.equal(hex(arrived(vip, none)), hex(concat(none.subarray(0, 36), mss(most))), 'after 36 no operations')
    const twice = concat(mss(9000), mss(9000))
    t.equal(hex(arrived(vip, twice)), hex(concat(mss(most), mss(9000))), 'the first one counts')
  }
})

t.test('SYN with ACK too, and no packet without SYN', async t => {
  for (const vip of VIPS) {
    const most = 1500 - first!.overhead - (is6(vip) ? 60 : 40)
    for (const flags of [SYN, SYN | ACK, SYN | tcpFlags.ECE | tcpFlags.CWR])
      t.equal(hex(arrived(vip, mss(9000), flags)), hex(mss(most)), `flags ${flags}`)
    for (const flags of [ACK, RST, FIN | ACK, 0])
      t.equal(hex(arrived(vip, mss(9000), flags)), hex(mss(9000)), `flags ${flags}`)
  }
})

t.test('options that make no sense stay as they are', async t => {
  for (const vip of VIPS)
    for (const options of [
      [],
      [0, 2, 4, 0x23, 0x28],
      [2, 2, 0x23, 0x28],
      [2, 3, 0x23, 0x28],
      [2, 5, 0x23, 0x28, 0],
      [3, 0, 2, 4, 0x23, 0x28],
      [8, 40, 2, 4, 0x23, 0x28],
      [1, 1, 1, 2],
      [1, 1, 2, 4],
      [1, 2, 4, 0x23],
    ]) {
      const given = Uint8Array.from(options)
      t.equal(hex(arrived(vip, given)), hex(given), `${vip}, ${hex(given)}`)
    }
})

t.test('however far the TCP header is', async t => {
  const vip = VIPS.find(is6)!
  for (const units of [100, 121, 122, 123, 124, 130]) {
    const bytes = sent(vip, tcp({ from: 40000, to: first!.port, flags: SYN, options: mss(9000) }), {
      ip: { extensions: [destinationOptions(units)] },
    })
    const { inner } = unwrap(dataPlane.run(bytes).packet)
    t.same(wrongChecksumsOf(inner), [])
    t.equal(
      hex(inner.subarray(-4)),
      hex(mss(1500 - first!.overhead - 60)),
      `${units} units of options before it`,
    )
    const headers = 40 + 8 * (units + 1)
    t.equal(hex(inner.subarray(0, headers)), hex(bytes.subarray(14, 14 + headers)), 'which stay as they were')
  }
})

t.test('bytes behind the data offset are payload', async t => {
  for (const vip of VIPS) {
    const bytes = sent(vip, tcp({ from: 40000, to: first!.port, flags: SYN }, mss(9000)))
    t.equal(hex(unwrap(dataPlane.run(bytes).packet).inner), hex(bytes.subarray(14)))
  }
})

t.test('UDP that looks like a SYN stays as it is', async t => {
  for (const vip of VIPS) {
    const looks = tcp({ from: 0, to: 0, flags: SYN, options: mss(9000) }).bytes({
      from: new Uint8Array(4),
      to: new Uint8Array(4),
    })
    const bytes = sent(vip, udp({ from: 40000, to: first!.port }, looks.subarray(8)))
    t.equal(hex(unwrap(dataPlane.run(bytes).packet).inner), hex(bytes.subarray(14)))
  }
})

t.test('a service that does not ask for it keeps its MSS', async t => {
  const unclamped = await instance(t, tunnelTables())
  for (const vip of VIPS) {
    const bytes = sent(vip, tcp({ from: 40000, to: first!.port, flags: SYN, options: mss(9000) }))
    t.equal(hex(unwrap(unclamped.run(bytes).packet).inner), hex(bytes.subarray(14)))
  }
})

t.test('the checksum is right for every MSS', async t => {
  for (const vip of VIPS) {
    const headerBytes = is6(vip) ? 40 : 20
    let clamped = 0
    for (let asked = 1000; asked < 65536; asked += 13) {
      for (const ahead of [[], [1]]) {
        const options = concat(Uint8Array.from(ahead), mss(asked))
        const { inner } = unwrap(
          dataPlane.run(sent(vip, tcp({ from: 40000, to: first!.port, flags: SYN, options }))).packet,
        )
        if (readU16(inner, headerBytes + 20 + ahead.length + 2) !== asked) clamped++
        const wrong = wrongChecksumsOf(inner)
        if (wrong.length > 0) t.fail(`MSS ${asked} at ${ahead.length}: ${wrong}`)
      }
    }
    t.ok(clamped > 9000, `${clamped} were lowered`)
  }
})
