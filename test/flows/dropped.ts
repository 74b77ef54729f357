/** What a drop makes of the packets that come afterwards, in the real data plane. */
import t from 'tap'
import type { FlowRow } from '../../src/control/protocol.js'
import { skip } from '../fixtures/native.js'
import { CLIENT, DNS, only, type Said, say, send, WEB } from './fixtures/packets.js'
import { openRealFlows, type RealFlows } from './fixtures/real-tables.js'

const established = async (site: RealFlows): Promise<FlowRow> => {
  send(site, CLIENT, WEB, 'tcp', 'S')
  const row = await only(site)
  say(site, row, 'server SA')
  say(site, row, 'client A')
  return only(site)
}

/** Whom the packets that left have reset. */
const resetBy = (said: readonly Said[]): (string | null)[] =>
  [...new Set(said.filter(({ isReset }) => isReset).map(({ to }) => to))].sort()

for (const [first, second] of [
  ['client', 'server'],
  ['server', 'client'],
] as const)
  t.test(`dropped, both ends are reset: the ${first} speaks first`, { skip }, async t => {
    const site = await openRealFlows(t)
    const row = await established(site)
    t.same(await site.flows.drop({ id: row.id! }), { dropped: 1, tracked: 0 })
    const ends = { client: row.client!, server: row.backend!.split(':')[0]! }
    const one = say(site, row, `${first} A`)
    t.match(one, { to: ends[second], isReset: true }, 'the other end is reset with its packet')
    const two = say(site, row, `${first} A`)
    t.match(two, { to: ends[first], isReset: true }, 'it is reset with its next one')
    const more = [`${first} A`, `${second} A`, `${first} FA`, `${second} A`].map(packet =>
      say(site, row, packet),
    )
    t.same(
      more.filter(({ to, isReset }) => to !== null && !isReset),
      [],
      'nothing else comes through',
    )
    t.same(resetBy([one, two, ...more]), Object.values(ends).sort())
    t.equal(send(site, CLIENT, WEB, 'tcp', 'S').verdict, 'TX_FULLNAT', 'the same client may come again')
    t.match(await only(site), { state: 'syn-sent', dropped: false })
  })

t.test('an end that speaks alone, again and again, is reset too', { skip }, async t => {
  const site = await openRealFlows(t)
  const row = await established(site)
  await site.flows.drop({ service: 'web' })
  const said = Array.from({ length: 6 }, () => say(site, row, 'client A'))
  t.ok(
    said.every(({ isReset }) => isReset),
    JSON.stringify(said),
  )
  t.ok(resetBy(said).includes(CLIENT.host))
})

t.test('dropped, a UDP flow is over for both ends', { skip }, async t => {
  const site = await openRealFlows(t)
  send(site, CLIENT, DNS, 'udp')
  const row = await only(site)
  t.same(await site.flows.drop({ service: 'dns' }), { dropped: 1, tracked: 0 })
  t.same(say(site, row, 'server').to, null, 'its backend is nobody to the client')
  t.same((await site.flows.list({})).flows, [])
  t.equal(send(site, CLIENT, DNS, 'udp').verdict, 'TX_FULLNAT')
  t.match(await only(site), { state: 'udp-once', dropped: false })
})
