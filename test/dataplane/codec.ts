import t from 'tap'
import { addressBytes } from '../../src/address.js'
import { backendCountLayout, configLayout, serviceLayout, verdict } from '../../src/dataplane/layout.js'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

t.test('an IPv4 service is these bytes', async t => {
  const bytes = serviceLayout.encode({
    addr: addressBytes('192.0.2.10'),
    port: 80,
    protocol: 6,
    state: 1,
    flags: 1,
    pool: 0,
    idle: 0,
    ringBase: 0x01020304,
    ringSize: 65537,
    hashSeed: 0x1122334455667788n,
    hashMask: 0xffffffffn,
    id: 7,
  })
  t.equal(
    hex(bytes),
    '00000000000000000000ffffc000020a' + // the VIP, mapped
      '0050' +
      '06' +
      '01' +
      '01' +
      '000000' + // port in wire order, protocol, state, flags, padding
      '04030201' +
      '01000100' + // ring, host order
      '8877665544332211' +
      'ffffffff00000000' +
      '07000000' +
      '000000000000000000000000',
  )
})

t.test('an IPv6 service has its address as it is', async t => {
  const record = {
    port: 443,
    protocol: 17,
    state: 1,
    flags: 0,
    pool: 0,
    idle: 0,
    ringBase: 0,
    ringSize: 251,
    hashSeed: 0n,
    hashMask: 0n,
    id: 0,
  }
  const bytes = serviceLayout.encode({ addr: addressBytes('2001:db8::1'), ...record })
  t.equal(hex(bytes.subarray(0, 19)), '20010db8000000000000000000000001' + '01bb' + '11')
})

t.test('a record read back is the record written', async t => {
  const count = { txPackets: 1n, txBytes: 2n ** 63n, redirectPackets: 3n, redirectBytes: 4n, syns: 5n }
  t.same(backendCountLayout.decode(backendCountLayout.encode(count)), count)
})

t.test('values of a wrong length are refused, not cut', async t => {
  const config = {
    hashKeys: [1n, 2n, 3n],
    clockScale: 0n,
    serviceSeed: 0,
    serviceMask: 0,
    interfaceMask: 0,
    answersPerSecond: 0,
    anyPort: 0,
    trace: 0,
    tracking: 0,
    testClock: 0,
    cacheBits: 4,
    cacheGrown: 0,
    nat: 0,
    connections: 0,
    snatPrefixes: 0,
    snatPool: 0,
    connectionBits: 4,
    replyMask: 15,
    snatTimes: 0,
    localNet: [0n, 0n, 0n, 0n],
    localMask: [0n, 0n, 0n, 0n],
  }
  t.throws(() => configLayout.encode(config), RangeError)
  t.throws(() => backendCountLayout.decode(new Uint8Array(39)), RangeError)
})

t.test('a verdict carries its action in bits 5 and 6, as its name does in its prefix', async t => {
  const actions = { PASS: 0, DROP: 1, TX: 2, REDIRECT: 3 } as const
  for (const [name, value] of Object.entries(verdict))
    if (name !== 'CONTINUE') t.equal(value >> 5, actions[name.split('_', 1)[0] as keyof typeof actions], name)
})
