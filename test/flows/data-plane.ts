/** Rows beside the real data plane: what its packets make of a connection. */
import t from 'tap'
import type { FlowRow } from '../../src/control/protocol.js'
import { VIP } from '../fixtures/cases.js'
import { times } from '../fixtures/connection-tables.js'
import { skip } from '../fixtures/native.js'
import { CLIENT, DNS, only, say, send, WEB } from './fixtures/packets.js'
import { openRealFlows } from './fixtures/real-tables.js'

t.test("a connection's state and time are the data plane's, packet by packet", { skip }, async t => {
  const histories: readonly (readonly (readonly [string, FlowRow['state'], number])[])[] = [
    [
      ['server SA', 'syn-received', times.synReceived],
      ['client A', 'established', times.established],
      ['server A', 'established', times.established],
      ['client FA', 'close-wait', times.closeWait],
      ['server FA', 'last-ack', times.lastAck],
      ['client A', 'last-ack', times.lastAck],
    ],
    [
      ['server SA', 'syn-received', times.synReceived],
      ['client A', 'established', times.established],
      ['server FA', 'fin-wait', times.finWait],
      ['client FA', 'time-wait', times.timeWait],
    ],
    [['server RA', 'close', times.close]],
    [
      ['server SA', 'syn-received', times.synReceived],
      ['client R', 'close', times.close],
    ],
  ]
  for (const history of histories) {
    const site = await openRealFlows(t)
    t.equal(send(site, CLIENT, WEB, 'tcp', 'S').verdict, 'TX_FULLNAT')
    let row = await only(site)
    t.match(row, {
      kind: 'fullnat',
      service: 'web',
      client: CLIENT.host,
      clientPort: CLIENT.port,
      state: 'syn-sent',
    })
    t.match(row, { server: VIP, serverPort: 80, expires: times.synSent, idle: 0 })
    let now = 1000
    for (const [packet, state, expires] of history) {
      site.setSeconds(++now)
      t.match(await only(site), { idle: 1 })
      t.match(say(site, row, packet).verdict, /^TX_FULLNAT/, packet)
      row = await only(site)
      t.match(row, { state, expires, idle: 0 }, packet)
    }
    site.setSeconds(now + row.expires)
    t.match(await only(site), { expires: 0 })
    site.setSeconds(now + row.expires + 1)
    t.same((await site.flows.list({})).flows, [], 'its time is over')
  }
})

t.test('UDP, of one packet and of more; NAT by flow', { skip }, async t => {
  const site = await openRealFlows(t)
  t.equal(send(site, CLIENT, DNS, 'udp').verdict, 'TX_FULLNAT')
  t.match(await only(site), { protocol: 'udp', service: 'dns', state: 'udp-once', expires: times.udpOnce })
  t.equal(say(site, await only(site), 'server').verdict, 'TX_FULLNAT_REPLY')
  t.match(await only(site), { state: 'udp-once' }, 'an answer is none of its packets')
  send(site, CLIENT, DNS, 'udp')
  t.match(await only(site), { state: 'udp', expires: times.udp })
  t.equal(send(site, CLIENT, { host: VIP, port: 90 }, 'tcp', 'S').verdict, 'TX_NAT')
  t.match((await site.flows.list({ service: 'shared' })).flows, [
    {
      kind: 'nat',
      client: CLIENT.host,
      local: null,
      localPort: null,
      state: 'syn-sent',
      backend: '10.9.3.1:9000',
    },
  ])
})
