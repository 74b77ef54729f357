import t from 'tap'
import type { Resolution } from '../src/next-hop.js'
import { createKeptNextHops, KEEP_MS } from '../src/next-hop-kept.js'

const way = (last: number): Resolution => ({
  nextHop: {
    ifindex: 3,
    mac: Uint8Array.of(2, 0, 0, 0, 0, last),
    sourceMac: new Uint8Array(6),
    mtu: 1500,
    source: null,
  },
  neighbour: { ifindex: 3, address: `10.0.0.${last}` },
})
const asked: Resolution = {
  reason: 'gateway 10.0.0.9 on eth0 is not resolved yet',
  neighbour: { ifindex: 3, address: '10.0.0.9' },
  isAsked: true,
}
const silent: Resolution = { ...asked, reason: 'gateway 10.0.0.9 on eth0 does not answer', isAsked: false }

const open = () => {
  const state = { now: 0, isUsable: true, kept: 0 }
  const hops = createKeptNextHops(
    () => state.now,
    () => state.isUsable,
    () => {
      state.kept++
    },
  )
  return { state, hops }
}

t.test('while a new gateway is asked, the old way goes on, for a moment', async t => {
  const { state, hops } = open()
  t.equal(hops.of('b1', asked), asked, 'there has been no way yet')
  hops.of('b1', way(1))
  t.same(hops.of('b1', asked), { ...way(1), neighbour: { ifindex: 3, address: '10.0.0.9' } })
  state.now = KEEP_MS - 1
  t.match(hops.of('b1', asked), { nextHop: { mac: Uint8Array.of(2, 0, 0, 0, 0, 1) } })
  t.equal(state.kept, 1, 'told once')
  state.now = KEEP_MS
  t.equal(hops.of('b1', asked), asked)
  t.equal(hops.of('b1', asked), asked, 'and it does not begin anew')
})

t.test('an answer ends it, and the next change has its own moment', async t => {
  const { state, hops } = open()
  hops.of('b1', way(1))
  hops.of('b1', asked)
  state.now = 900
  t.same(hops.of('b1', way(9)), way(9))
  state.now = 1500
  t.match(hops.of('b1', asked), { nextHop: { mac: Uint8Array.of(2, 0, 0, 0, 0, 9) } })
  t.equal(state.kept, 2)
})

t.test(
  'nothing is kept for a gateway that does not answer, without a link, or for who is not followed',
  async t => {
    const { state, hops } = open()
    hops.of('b1', way(1))
    t.equal(hops.of('b1', silent), silent)
    t.equal(hops.of('b1', asked), asked)

    hops.of('b1', way(1))
    state.isUsable = false
    t.equal(hops.of('b1', asked), asked)

    state.isUsable = true
    hops.of('b1', way(1))
    hops.of('b2', way(2))
    hops.only(['b2'])
    t.equal(hops.of('b1', asked), asked)
    t.match(hops.of('b2', asked), { nextHop: { mac: Uint8Array.of(2, 0, 0, 0, 0, 2) } })
  },
)
