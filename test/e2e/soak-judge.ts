/** What the soak excuses, and what it does not. */
import t from 'tap'
import { createJudge } from '../soak/judge.js'
import type { Over } from '../soak/said.js'

const open = () => {
  let now = 1000
  const broken: Over[] = []
  const judge = createJudge({
    seed: '0f1e2d3c4b5a69788796a5b4c3d2e1f0',
    vip: '192.0.2.10',
    port: 7000,
    client: '10.0.0.1',
    ringSize: 4099,
    onBroken: over => broken.push(over),
    now: () => now,
  })
  let made = 0
  /** A connection that had its last answer at one time and ended at another. */
  const ends = (backend: string, okAt: number, at: number, why = 'ECONNRESET'): void => {
    const one = { id: made++, protocol: 'tcp', port: 40_000, backend } as const
    judge.hear({ ...one, kind: 'open', at: okAt })
    judge.hear({ ...one, kind: 'over', why, to: null, okAt, at })
  }
  return {
    judge,
    broken,
    ends,
    at: (time: number) => {
      now = time
    },
  }
}

t.test('a connection that ends although nothing has failed its backend is broken', async t => {
  const { judge, broken, ends } = open()
  judge.fails('b2', 'killed')
  ends('b1', 1500, 2000)
  t.equal(broken.length, 1)
  t.match(judge.verdict(), { died: 0, cut: 0, connections: 1 })
})

t.test('a failure excuses what ends from then on, and what asks only after the recovery', async t => {
  const { judge, broken, ends, at } = open()
  at(2000)
  judge.fails('b1', 'killed')
  ends('b1', 1500, 1999)
  t.equal(broken.length, 1, 'it ended before')
  ends('b1', 1500, 2001)
  at(5000)
  judge.recovers('b1')
  ends('b1', 1500, 9000)
  t.equal(broken.length, 1, 'it rested meanwhile')
  ends('b1', 5001, 9000)
  t.equal(broken.length, 2, 'it had an answer since')
  t.match(judge.verdict(), { died: 2, cut: 0, excused: { killed: 2 } })
})

t.test('who dies and who is cut by an order are counted apart', async t => {
  const { judge, ends } = open()
  judge.fails('b1', 'link down')
  judge.fails('b2', 'disabled')
  judge.fails('b3', 'deadline')
  for (const backend of ['b1', 'b2', 'b3']) ends(backend, 900, 1500)
  ends('b4', 900, 1500, 'asked to')
  t.match(judge.verdict(), { died: 1, cut: 2, polite: 1, broken: [] })
  t.equal(judge.failure('b2'), 'disabled')
  judge.recovers('b2')
  t.equal(judge.failure('b2'), null)
})

t.test('a backend may be seen down only while the schedule has failed it', async t => {
  const { judge, at } = open()
  t.notOk(judge.mayBeDown('b1', 900))
  at(2000)
  judge.fails('b1', 'killed')
  t.ok(judge.mayBeDown('b1', 2100))
  t.notOk(judge.mayBeDown('b2', 2100))
  at(5000)
  judge.recovers('b1')
  t.ok(judge.mayBeDown('b1', 4900), 'the look began before it was up')
  t.notOk(judge.mayBeDown('b1', 5001))
})
