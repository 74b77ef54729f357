/** A record that changes under the eyes of packets: whatever word they read when, what they make of it is one or the other. */
import fc from 'fast-check'
import t from 'tap'
import { storeRecord } from '../../src/dataplane/backend-words.js'
import { backendFlags, backendLayout, forwardMode } from '../../src/dataplane/layout.js'

type BackendRecord = ReturnType<typeof backendLayout.decode>

const bytes = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)

const record: fc.Arbitrary<BackendRecord> = fc
  .record({
    mode: fc.constantFrom(
      forwardMode.FORWARD_DR,
      forwardMode.FORWARD_IPIP,
      forwardMode.FORWARD_GRE,
      forwardMode.FORWARD_GUE,
    ),
    flags: fc.constantFrom(0, backendFlags.BACKEND_KEYED, backendFlags.BACKEND_BARE),
    isResolved: fc.boolean(),
    way: fc.nat(2),
    key: fc.nat(2),
    source: fc.nat(2),
    half: fc.nat(1),
    spread: fc.constantFrom(0, 16),
    mtu: fc.constantFrom(1400, 1500),
  })
  .map(({ mode, flags, isResolved, way, key, source, half, spread, mtu }) => ({
    dstMac: bytes(6, way),
    srcMac: bytes(6, 0xa0 + way),
    ifindex: way,
    mode,
    flags: flags | (isResolved ? backendFlags.BACKEND_RESOLVED : 0),
    mtu,
    outPort: way,
    spread,
    idle: 3,
    service: 1,
    port: 80,
    key,
    addr: bytes(16, 0x0a),
    source: Uint8Array.from([...bytes(8, source * half), ...bytes(8, source)]),
  }))

/** What a packet is made of: nothing where the backend is not resolved. */
const packetBy = ({ mode, flags, mtu, ifindex, dstMac, key, source, spread }: BackendRecord): string => {
  if (!(flags & backendFlags.BACKEND_RESOLVED)) return 'none'
  const way = { ifindex, mac: dstMac.join() }
  if (mode === forwardMode.FORWARD_DR) return JSON.stringify({ way, mtu })
  const isKeyed = mode === forwardMode.FORWARD_GUE || (mode === forwardMode.FORWARD_GRE && flags & 16)
  return JSON.stringify({ way, mtu, source: source.join(), spread, shim: [mode, flags, isKeyed ? key : 0] })
}

/** Its parts, each of which is to be whole. */
const partsOf = (packet: string): string[] =>
  packet === 'none'
    ? ['none']
    : Object.entries(JSON.parse(packet) as Record<string, unknown>)
        .filter(([name]) => name !== 'spread')
        .map(([name, part]) => JSON.stringify([name, part, name === 'source' && JSON.parse(packet).spread]))

/** The memory after each store. */
const historyOf = (before: BackendRecord, after: BackendRecord): BackendRecord[] => {
  const words = new BigUint64Array(backendLayout.encode(before).buffer)
  const history: BackendRecord[] = []
  const look = () => history.push(backendLayout.decode(new Uint8Array(words.slice().buffer)))
  look()
  const { store } = Atomics
  const spy = (array: BigUint64Array, index: number, value: bigint): bigint => {
    store(array, index, value)
    look()
    return value
  }
  Object.defineProperty(Atomics, 'store', { value: spy, configurable: true, writable: true })
  try {
    storeRecord(words, 0, backendLayout.encode(after))
  } finally {
    Object.defineProperty(Atomics, 'store', { value: store, configurable: true, writable: true })
  }
  t.same(backendLayout.decode(new Uint8Array(words.buffer)), after)
  return history
}

t.test('a packet meets the parts of the old tunnel or of the new one, never a mix', async t => {
  fc.assert(
    fc.property(record, record, (before, after) => {
      const known = new Set([...partsOf(packetBy(before)), ...partsOf(packetBy(after)), 'none'])
      for (const seen of historyOf(before, after)) {
        // MAC addresses on the same interface may change one after the other.
        const strange = partsOf(packetBy(seen)).filter(part => !known.has(part))
        if (strange.length > 0) throw new Error(`${strange} of ${[...known]}`)
      }
    }),
    { numRuns: 3000 },
  )
  t.pass('3000 changes')
})

t.test('what does not mix is never unresolved', async t => {
  const base: BackendRecord = {
    dstMac: bytes(6, 1),
    srcMac: bytes(6, 2),
    ifindex: 1,
    mode: forwardMode.FORWARD_DR,
    flags: backendFlags.BACKEND_RESOLVED,
    mtu: 1500,
    outPort: 0,
    spread: 0,
    idle: 3,
    service: 1,
    port: 80,
    key: 0,
    addr: bytes(16, 3),
    source: bytes(16, 0),
  }
  const ipip = { ...base, mode: forwardMode.FORWARD_IPIP, mtu: 1480, source: bytes(16, 9) }
  const keyed = {
    ...ipip,
    mode: forwardMode.FORWARD_GRE,
    flags: base.flags | backendFlags.BACKEND_KEYED,
    key: 7,
    mtu: 1472,
  }
  const gue = { ...ipip, mode: forwardMode.FORWARD_GUE, key: 6080 * 65536, mtu: 1468 }
  const otherLast8 = { ...ipip, source: Uint8Array.from([...bytes(8, 9), ...bytes(8, 4)]) }
  const isAlwaysResolved = (before: BackendRecord, after: BackendRecord): boolean =>
    historyOf(before, after).every(({ flags }) => flags & backendFlags.BACKEND_RESOLVED)
  t.ok(isAlwaysResolved(base, ipip), 'into a tunnel')
  t.ok(isAlwaysResolved(ipip, base), 'out of it')
  t.ok(isAlwaysResolved(ipip, keyed), 'to a tunnel with a key')
  t.ok(isAlwaysResolved(keyed, ipip), 'and back')
  t.ok(isAlwaysResolved(keyed, { ...keyed, key: 8 }), 'another key')
  t.ok(isAlwaysResolved(ipip, { ...ipip, mtu: 1380 }), 'another path MTU')
  t.ok(isAlwaysResolved(ipip, otherLast8), 'another source within 64 bits')
  t.notOk(isAlwaysResolved(keyed, gue), 'a key is no port')
  t.notOk(isAlwaysResolved(ipip, { ...otherLast8, spread: 16 }), 'a source and its spread')
  t.notOk(isAlwaysResolved(base, { ...base, ifindex: 2 }), 'another way out')
  t.equal(historyOf(ipip, ipip).length, 1, 'what is the same is not stored')
})
