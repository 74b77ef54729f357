import fc from 'fast-check'
import { Packr } from 'msgpackr'
import t from 'tap'
import { createDecoder, encode } from '../../src/control/codec.js'

const MIB = 1024 * 1024
const decodeAll = (bytes: Buffer, maxBytes = MIB) => createDecoder(maxBytes).push(bytes)

/** `bytes` in pieces of the given lengths, used in turn. */
const pieces = (bytes: Buffer, lengths: readonly number[]): Buffer[] => {
  const parts: Buffer[] = []
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const length = lengths[i % lengths.length]!
    parts.push(bytes.subarray(at, at + length))
    at += length
  }
  return parts
}

/** msgpackr renames the key `__proto__`, and knows no negative zero. */
const value = fc
  .jsonValue()
  .filter(value => !JSON.stringify(value).includes('__proto__'))
  .map(value => JSON.parse(JSON.stringify(value)) as unknown)

t.test('messages come out as they went in, however the stream is cut', async t => {
  const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 })
  const law = fc.property(fc.array(value, { maxLength: 8 }), cuts, (values, lengths) => {
    const decoder = createDecoder(MIB)
    const stream = Buffer.concat(values.map(value => encode({ value })))
    const decoded = pieces(stream, lengths).flatMap(piece => decoder.push(piece).messages)
    const isSame = JSON.stringify(decoded) === JSON.stringify(values.map(value => ({ value })))
    return isSame && decoder.heldBytes === 0
  })
  t.doesNotThrow(() => fc.assert(law))
})

t.test('any bytes at all give messages or a problem, the same however they are cut', async t => {
  const json = (value: unknown) => JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}n` : v))
  const law = fc.property(
    fc.uint8Array({ maxLength: 300 }),
    fc.integer({ min: 1, max: 9 }),
    (bytes, length) => {
      const whole = decodeAll(Buffer.from(bytes), 200)
      const decoder = createDecoder(200)
      const parts = pieces(Buffer.from(bytes), [length]).map(piece => decoder.push(piece))
      const messages = parts.flatMap(part => part.messages)
      const problem = parts.find(part => part.problem !== null)?.problem ?? null
      return json([messages, problem]) === json([whole.messages, whole.problem])
    },
  )
  t.doesNotThrow(() => fc.assert(law, { numRuns: 2000 }))
})

t.test('a byte at a time, a long message is held in little more than its own length', async t => {
  const message = { text: 'x'.repeat(100_000) }
  const bytes = encode(message)
  const decoder = createDecoder(MIB)
  let decoded: readonly unknown[] = []
  for (let at = 0; at < bytes.length; at++) decoded = decoder.push(bytes.subarray(at, at + 1)).messages
  t.same(decoded, [message])
  t.equal(decoder.heldBytes, 0)
})

t.test('properties that are undefined are left out', async t => {
  t.same(decodeAll(encode({ a: undefined, b: [{ c: undefined }] })).messages, [{ b: [{}] }])
})

t.test('64-bit integers are numbers where those are exact, else bigint', async t => {
  const bytes = Buffer.from('cf0000000000000007d3fffffffffffffffecf8000000000000000', 'hex')
  t.same(decodeAll(bytes).messages, [7, -2, 2n ** 63n])
})

t.test('__proto__ as a key changes no prototype', async t => {
  const { messages } = decodeAll(Buffer.from('81a95f5f70726f746f5f5f81a568656c6c6fc3', 'hex'))
  t.equal(Object.getPrototypeOf(messages[0]), Object.prototype)
  t.equal((messages[0] as { hello?: boolean }).hello, undefined)
})

t.test("nil and scalars are messages too: to judge them is not the codec's business", async t => {
  t.same(decodeAll(Buffer.from([0xc0, 0x05, 0xc3, 0xa1, 0x78])).messages, [null, 5, true, 'x'])
})

t.test('what stands before a problem is still decoded, and nothing after it', async t => {
  const { messages, problem } = decodeAll(Buffer.from([0x01, 0xc1, 0x02]))
  t.same(messages, [1])
  t.match(problem, /0xc1/)
})

t.test('a decoder with a problem stays useless and holds nothing', async t => {
  const decoder = createDecoder(MIB)
  decoder.push(Buffer.from([0xc1]))
  t.same(decoder.push(encode({ id: 1 })), { messages: [], problem: 'byte 0xc1 begins no msgpack value' })
  t.equal(decoder.heldBytes, 0)
})

t.test('a length beyond the limit is refused when its header is seen', async t => {
  for (const header of ['c6ffffffff', 'dbffffffff', 'ddffffffff', 'dfffffffff', 'c600100000'])
    t.match(decodeAll(Buffer.from(header, 'hex')).problem, /more than 1048576 bytes/, header)
})

t.test('a message may be exactly as long as the limit, and not a byte longer', async t => {
  const message = encode({ text: 'x'.repeat(1000) })
  t.equal(decodeAll(message, message.length).messages.length, 1)
  t.match(decodeAll(message, message.length - 1).problem, /more than/)
})

t.test('many small values add up to the limit, however few each chunk brings', async t => {
  const decoder = createDecoder(1000)
  decoder.push(Buffer.from('dc03e5', 'hex')) // 997 elements
  const results = Array.from({ length: 500 }, () => decoder.push(Buffer.from('a3616263', 'hex')))
  t.match(results.find(({ problem }) => problem !== null)?.problem, /more than 1000 bytes/)
  t.equal(decoder.heldBytes, 0)
})

t.test('depth is bounded', async t => {
  t.equal(decodeAll(Buffer.concat([Buffer.alloc(40, 0x91), Buffer.from([0xc0])])).messages.length, 1)
  t.match(decodeAll(Buffer.alloc(100_000, 0x91)).problem, /nested deeper/)
})

t.test('extension types are refused, but for undefined', async t => {
  t.match(decodeAll(Buffer.from('d6ff00000000', 'hex')).problem, /extension/)
  t.match(decodeAll(new Packr().pack({ id: 1 })).problem, /extension/, 'a record')
  t.same(decodeAll(new Packr({ useRecords: false }).pack({ id: 1, params: undefined })).messages, [{ id: 1 }])
})
