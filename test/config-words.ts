import t from 'tap'
import { didYouMean, editDistance, nearestWord } from '../src/config/did-you-mean.js'
import { formatDuration, parseDuration } from '../src/config/durations.js'
import { parseStatusCodes } from '../src/config/status-codes.js'

t.test('a letter changed, added, left out or swapped is one edit', async t => {
  for (const [word, edits] of [
    ['weight', 0],
    ['wieght', 1],
    ['weigt', 1],
    ['weightt', 1],
    ['waight', 1],
    ['height', 1],
    ['', 6],
    ['thgiew', 5],
  ] as const)
    t.equal(editDistance(word, 'weight'), edits, word)
})

t.test('a near word is meant, a far one is not', async t => {
  const known = ['name', 'address', 'port', 'weight', 'mac', 'ring-size']
  t.equal(didYouMean('adress', known), 'did you mean address?')
  t.equal(nearestWord('ring_size', known), 'ring-size')
  t.equal(nearestWord('ringSize', known), 'ring-size')
  t.equal(nearestWord('prot', known), 'port')
  t.equal(nearestWord('zzz', known), null)
  t.equal(nearestWord('x'.repeat(100_000), known), null)
})

t.test('durations have a number and a unit', async t => {
  for (const [text, ms] of [
    ['500ms', 500],
    ['2s', 2000],
    ['1.5s', 1500],
    ['15m', 900_000],
    ['8h', 28_800_000],
    ['0s', 0],
    ['2', null],
    ['2 s', null],
    ['-2s', null],
    ['0.5ms', null],
    ['2d', null],
    ['1e3s', null],
    ['', null],
    ['9999999999s', null],
  ] as const)
    t.equal(parseDuration(text), ms, text)
})

t.test('durations are shown in the largest whole unit', async t => {
  t.same([500, 2000, 1500, 900_000, 28_800_000, 0].map(formatDuration), [
    '500ms',
    '2s',
    '1500ms',
    '15m',
    '8h',
    '0ms',
  ])
})

t.test('status codes are single or ranges', async t => {
  t.same(parseStatusCodes('200'), [{ from: 200, to: 200 }])
  t.same(parseStatusCodes('200-299, 304'), [
    { from: 200, to: 299 },
    { from: 304, to: 304 },
  ])
  for (const text of ['', ',', '200-', '2xx', '200--299', '1000', '599-600', '299-200', '200,'.repeat(200)])
    t.type(parseStatusCodes(text), 'string', text)
})
