import t from 'tap'
import { noCount, noTraffic } from '../src/dataplane/counters.js'
import { createReplyWatch } from '../src/reply-watch.js'

const KEY = '192.0.2.1:80/tcp 10.0.0.1:80'
const sample = (requests: number, replies: number) =>
  new Map([
    [
      '192.0.2.1:80/tcp',
      {
        backends: new Map([
          [
            '10.0.0.1:80',
            {
              ...noCount,
              redirect: { packets: BigInt(requests), bytes: 0n },
              replies: { tx: { packets: BigInt(replies), bytes: 0n }, redirect: noTraffic },
            },
          ],
        ]),
        retired: noCount,
        unforwarded: noTraffic,
        slotsWritten: 0,
      },
    ],
  ])

t.test('a backend is silent when requests have gone out for a while and nothing came back', async t => {
  let nowMs = 0
  const watch = createReplyWatch(() => nowMs)
  const at = (ms: number, requests: number, replies: number): boolean => {
    nowMs = ms
    watch.add(sample(requests, replies))
    return watch.isSilent(KEY)
  }
  t.notOk(at(0, 100, 0), 'the first look')
  t.notOk(at(10_000, 110, 0), 'not long enough')
  t.ok(at(20_000, 120, 0))
  t.ok(at(30_000, 130, 0))
  t.notOk(at(40_000, 140, 1), 'a reply')
  t.notOk(at(50_000, 150, 1))
  t.ok(at(60_000, 160, 1))
  t.notOk(at(70_000, 160, 1), 'nothing goes out any more')
  t.notOk(at(80_000, 160, 1))
  t.ok(at(90_000, 165, 1), 'again')
})

t.test('a few packets without an answer say nothing', async t => {
  let nowMs = 0
  const watch = createReplyWatch(() => nowMs)
  for (const requests of [100, 101, 101, 101, 102]) {
    watch.add(sample(requests, 7))
    nowMs += 15_000
    t.notOk(watch.isSilent(KEY))
  }
})
