import fc from 'fast-check'
import t from 'tap'
import {
  addressBytes,
  addressFamily,
  addressText,
  canonicalAddress,
  canonicalMac,
  macBytes,
  macText,
  shortAddressBytes,
} from '../src/address.js'

t.test('IPv4 is four decimal parts and nothing else', async t => {
  for (const text of ['0.0.0.0', '10.0.0.1', '255.255.255.255']) t.equal(canonicalAddress(text), text)
  for (const text of [
    '10.0.0.01',
    '10.1',
    '1',
    '0x0a.0.0.1',
    '10.0.0.256',
    '10.0.0.1 ',
    ' 10.0.0.1',
    '10.0.0.1/32',
    '',
  ])
    t.equal(canonicalAddress(text), null, JSON.stringify(text))
})

t.test('IPv6 of any spelling has one canonical text, that of RFC 5952', async t => {
  for (const [text, canonical] of [
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:0db8::0001', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['::', '::'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['::192.0.2.1', '::c000:201'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
    ['fe80::1%eth0', null],
    ['2001:db8::g', null],
    ['1::2::3', null],
    [':1', null],
    ['[::1]', null],
  ] as const)
    t.equal(canonicalAddress(text), canonical, text)
})

t.test('text and bytes go to and fro, and IPv6 is written as a URL writes it', async t => {
  fc.assert(
    fc.property(fc.ipV6(), text => {
      const canonical = canonicalAddress(text)!
      const [, url] = /^\[(.*)\]$/.exec(new URL(`http://[${text}]/`).hostname)!
      const bytes = addressBytes(canonical)
      const isMapped = url!.startsWith('::ffff:')
      return canonical === url && bytes.length === 16 && (isMapped || addressText(bytes) === canonical)
    }),
  )
  fc.assert(
    fc.property(
      fc.ipV4(),
      text =>
        canonicalAddress(text) === text &&
        addressText(addressBytes(text)) === text &&
        addressText(shortAddressBytes(text)) === text,
    ),
  )
  t.pass()
})

t.test('IPv4 in 16 bytes is mapped; netlink gets 4', async t => {
  t.equal(Buffer.from(addressBytes('192.0.2.1')).toString('hex'), '00000000000000000000ffffc0000201')
  t.same([...shortAddressBytes('192.0.2.1')], [192, 0, 2, 1])
  t.equal(shortAddressBytes('2001:db8::1').length, 16)
  t.equal(addressFamily('192.0.2.1'), 4)
  t.equal(addressFamily('::1'), 6)
})

t.test('MAC addresses are six octets with colons, written in lower case', async t => {
  t.equal(canonicalMac('02:00:00:00:00:0C'), '02:00:00:00:00:0c')
  for (const text of [
    '02-00-00-00-00-0c',
    '0200.0000.000c',
    '2:0:0:0:0:c',
    '02:00:00:00:00',
    '02:00:00:00:00:0g',
    '',
  ])
    t.equal(canonicalMac(text), null, text)
  t.same([...macBytes('02:00:00:00:00:0c')], [2, 0, 0, 0, 0, 12])
  t.equal(macText(Uint8Array.of(2, 0, 0, 0, 0, 255)), '02:00:00:00:00:ff')
})
