import fc from 'fast-check'
import t from 'tap'
import { addressBytes } from '../../src/address.js'
import { createConnectionCopy } from '../../src/dataplane/connection-copy.js'
import { bucketsOf, indexWord, tupleHash } from '../../src/dataplane/connection-hash.js'
import { backendLayout, connectionKind, connectionLayout, flowLayout } from '../../src/dataplane/layout.js'

const NOW = 1000
const PORTS = 65536
const BITS = 4
const keys = [3n, 5n, 7n, 11n].map(key => (key << 40n) | 0x9e3779b97f4a7c15n)
const { CONNECTION_FULLNAT, CONNECTION_CLAIMED } = connectionKind

interface Entry {
  /** What tells the client. */
  readonly client: number
  readonly expires: number
  readonly kind: number
}

const record = ({ client, expires, kind }: Entry): Uint8Array =>
  connectionLayout.encode({
    client: addressBytes('198.51.100.7'),
    server: addressBytes('192.0.2.1'),
    clientPort: client,
    serverPort: 80,
    backend: 5,
    expires,
    clientSeen: 3,
    serverSeen: 3,
    protocol: 6,
    kind,
    l4Delta: client,
    l3Delta: 2,
    hopMac: Uint8Array.of(2, 0, 0, 0, 0, 1),
    packets: 4,
    ifindex: 9,
  })

const put = (memory: ArrayBuffer, place: number, entry: Entry | null): void =>
  new Uint8Array(memory).set(
    entry ? record(entry) : new Uint8Array(connectionLayout.size),
    place * connectionLayout.size,
  )
const get = (memory: ArrayBuffer, place: number) =>
  connectionLayout.decode(new Uint8Array(memory), place * connectionLayout.size)

/** Where the data plane would find a client's connection; null: nowhere. */
const find = (memory: ArrayBuffer, index: ArrayBuffer, client: number): number | null => {
  const halves = (address: string) => new BigUint64Array(addressBytes(address).slice().buffer)
  const [src, dst] = [halves('198.51.100.7'), halves('192.0.2.1')]
  const [ports] = new Uint32Array(Uint8Array.of(client >> 8, client & 255, 0, 80).buffer)
  const rest = (6n << 32n) | BigInt(ports!)
  const hash = tupleHash({ srcHi: src[0]!, srcLo: src[1]!, dstHi: dst[0]!, dstLo: dst[1]!, rest }, keys)
  const words = new BigUint64Array(index)
  for (const bucket of bucketsOf(hash, BITS))
    for (let i = 0; i < flowLayout.FLOWS_PER_BUCKET; i++) {
      const word = words[bucket * flowLayout.FLOWS_PER_BUCKET + i]!
      const place = Number(word & 0xfffffffn)
      if (word === indexWord(hash, place) && get(memory, place).clientPort === client) return place
    }
  return null
}

const open = (numbers: readonly number[], to = numbers.length) => {
  const memory = (count: number) => new ArrayBuffer(count * PORTS * connectionLayout.size)
  const [from, target] = [memory(numbers.length), memory(to)]
  const index = new ArrayBuffer(2 ** BITS * flowLayout.FLOWS_PER_BUCKET * 8)
  const copy = createConnectionCopy({
    from,
    to: target,
    index,
    numbers: Int32Array.from(numbers),
    keys,
    backends: new ArrayBuffer(backendLayout.size),
    now: NOW,
  })
  return { from, target, index, copy }
}
const live = (client: number, expires = NOW + 60): Entry => ({ client, expires, kind: CONNECTION_FULLNAT })

t.test('live connections go on under their new numbers, and are found there', async t => {
  const { from, target, index, copy } = open([1, -1], 2)
  put(from, 2000, live(7))
  put(from, 2001, live(8, NOW - 1))
  put(from, 2002, { ...live(9), kind: CONNECTION_CLAIMED })
  put(from, PORTS + 3000, live(10))
  t.same(copy.copy(), { copied: 1, lost: 1 })
  t.same(get(target, PORTS + 2000), get(from, 2000))
  t.equal(find(target, index, 7), PORTS + 2000)
  for (const other of [8, 9, 10]) t.equal(find(target, index, other), null)
  t.equal(get(target, PORTS + 2001).kind, 0)
})

t.test('what the first program wrote meanwhile is brought along', async t => {
  const { from, target, index, copy } = open([0])
  for (const [place, client] of [
    [2000, 1],
    [2001, 2],
    [2002, 3],
    [2003, 4],
  ] as const)
    put(from, place, live(client))
  copy.copy()
  put(from, 2000, live(1, NOW + 900)) // it spoke
  put(from, 2002, live(33)) // it ended, and its port is another's
  put(from, 2004, live(5)) // it came
  put(from, 2005, live(6)) // and another one, at a port that the second program gave away
  put(target, 2005, live(66))
  put(target, 2003, live(4, NOW + 800)) // both heard of it
  put(from, 2003, live(4, NOW + 700))
  t.same(copy.merge(), { copied: 2, lost: 1 })
  t.equal(get(target, 2000).expires, NOW + 900)
  t.equal(find(target, index, 33), 2002)
  t.equal(find(target, index, 3), null)
  t.equal(find(target, index, 5), 2004)
  t.equal(get(target, 2005).clientPort, 66)
  t.equal(get(target, 2003).expires, NOW + 800)
})

t.test('of the same map only the index is another one', async t => {
  const { from, index } = open([0])
  const copy = createConnectionCopy({
    from,
    to: from,
    index,
    numbers: Int32Array.of(0),
    keys,
    backends: new ArrayBuffer(backendLayout.size),
    now: NOW,
  })
  put(from, 2000, live(7))
  t.same(copy.copy(), { copied: 1, lost: 0 })
  t.equal(find(from, index, 7), 2000)
  put(from, 2001, live(8))
  t.same(copy.merge(), { copied: 1, lost: 0 })
  t.equal(find(from, index, 8), 2001)
  t.equal(find(from, index, 7), 2000)
})

t.test('whatever came before and meanwhile, each of the first map’s is where it was, once', async t => {
  const change = fc.record({
    place: fc.integer({ min: 2000, max: 2020 }),
    client: fc.integer({ min: 1, max: 40 }),
  })
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 20 }),
      fc.array(change, { maxLength: 20 }),
      (before, meanwhile) => {
        const { from, target, index, copy } = open([0])
        const owners = new Map<number, number>()
        const apply = (changes: typeof before): void => {
          for (const { place, client } of changes) {
            if ([...owners.values()].includes(client)) continue // a client has one connection
            put(from, place, live(client))
            owners.set(place, client)
          }
        }
        apply(before)
        copy.copy()
        apply(meanwhile)
        if (copy.merge().lost > 0) throw new Error('lost')
        for (const [place, client] of owners)
          if (find(target, index, client) !== place) throw new Error(`client ${client} is not at ${place}`)
        const words = new BigUint64Array(index).filter(word => word !== 0n)
        if (words.length !== owners.size) throw new Error(`${words.length} words for ${owners.size}`)
      },
    ),
    { numRuns: 100 },
  )
  t.pass('100 histories')
})
