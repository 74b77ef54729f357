/** Connections as the program puts them into the index, found again by the rule that the control process has of it. */
import t from 'tap'
import { bucketsOf, indexWord, TUPLE_IS_REPLY, tupleHash } from '../../src/dataplane/connection-hash.js'
import { connectionLayout, flowLayout } from '../../src/dataplane/layout.js'
import { hashKeys } from '../../src/flow-hash.js'
import { inOwnNamespaces } from '../fixtures/native.js'
import { loadTranslated, nat, openConnection, request, SEED } from './fixtures/translated.js'

const WORDS = connectionLayout.size / 8

if (inOwnNamespaces(t, import.meta.url)) {
  t.test('each word of the index lies in one of its two buckets, in both directions', async t => {
    const any = nat('10.0.0.1', { port: 0, backends: [{ address: '10.0.0.1' }] })
    const { dataplane } = await loadTranslated(
      t,
      { 'local-addresses': '10.1.0.100', 'local-ports': '2000-2063' },
      { web: nat('10.0.0.1', { forward: 'fullnat', vip: '192.0.2.2' }) },
    )
    const opened = (port: number, vip: string, to: number): void =>
      void openConnection(dataplane, request(port, vip, to))
    for (let port = 1; port <= 64; port++) opened(port, '192.0.2.2', 80)
    t.equal(dataplane.shape.indexBits, 4)
    checkIndex(t, dataplane, 64, 0)

    const { dataplane: other } = await loadTranslated(t, {}, { any })
    for (let port = 1; port <= 100; port++) void openConnection(other, request(port, '192.0.2.1', 7))
    checkIndex(t, other, 100, 100)
  })
}

type Dataplane = Awaited<ReturnType<typeof loadTranslated>>['dataplane']

const checkIndex = (
  t: { equal(a: unknown, b: unknown, why: string): void },
  dataplane: Dataplane,
  forth: number,
  back: number,
): void => {
  const index = new BigUint64Array(dataplane.memory('connection_index'))
  const connections = new BigUint64Array(dataplane.memory('connections'))
  const bytes = new Uint8Array(dataplane.memory('connections'))
  const bits = Math.log2(index.length / flowLayout.FLOWS_PER_BUCKET)
  const found = { forth: 0, back: 0, second: 0 }
  for (const [at, word] of index.entries()) {
    if (word === 0n) continue
    const place = Number(word & 0xfffffffn)
    const [srcHi, srcLo, dstHi, dstLo, ports] = connections.subarray(place * WORDS, place * WORDS + 5)
    const protocol = bytes[place * connectionLayout.size + connectionLayout.fields.protocol.offset]!
    const rest = (BigInt(protocol) << 32n) | (ports! & 0xffff_ffffn)
    const client = { srcHi: srcHi!, srcLo: srcLo!, dstHi: dstHi!, dstLo: dstLo!, rest }
    const backend = new BigUint64Array(
      Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1).buffer,
    )
    const [clientPort, serverPort] = [rest & 0xffffn, (rest >> 16n) & 0xffffn]
    const reply = {
      srcHi: backend[0]!,
      srcLo: backend[1]!,
      dstHi: client.srcHi,
      dstLo: client.srcLo,
      rest: TUPLE_IS_REPLY | (BigInt(protocol) << 32n) | (clientPort << 16n) | serverPort,
    }
    for (const [way, tuple] of [
      ['forth', client],
      ['back', reply],
    ] as const) {
      const hash = tupleHash(tuple, hashKeys(SEED))
      if (indexWord(hash, place) !== word) continue
      const [first, second] = bucketsOf(hash, bits)
      const bucket = Math.floor(at / flowLayout.FLOWS_PER_BUCKET)
      if (bucket === first || bucket === second) found[way]++
      if (bucket === second) found.second++
    }
  }
  t.equal(found.forth, forth, 'requests')
  t.equal(found.back, back, 'replies')
  if (bits === 4) t.equal(found.second > 0, true, 'some lie in their second bucket')
}
