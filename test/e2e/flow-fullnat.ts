/** FULLNAT's connections as the operator sees them, against what both ends say. */
import t from 'tap'
import type { FlowCount, FlowRow } from '../../src/control/protocol.js'
import { ADDRESSES } from '../../src/lab/translated.js'
import { COUNT, heldFamilies, linesOf, openHeldSite, PORT } from '../fixtures/held-flows.js'
import { skip } from '../fixtures/site.js'
import { askNames, isOfPool, VIP } from '../fixtures/translated-site.js'

t.test('connections of FULLNAT, listed and counted', { skip }, async t => {
  const { lab, daemon, server, hold } = await openHeldSite(t)
  const list = (...args: string[]) => daemon.json<FlowRow[]>('flow', 'list', ...args)

  for (const { service, vip, family } of heldFamilies)
    await t.test(`over ${vip}`, async t => {
      const client = await hold(vip)
      const ports = linesOf(client, 'open').map(Number)
      t.equal(ports.length, COUNT)
      const listed = await list(service)
      t.same(
        listed.map(({ clientPort }) => clientPort).sort(),
        [...ports].sort(),
        "the client's own ports, each once",
      )
      for (const row of listed) {
        t.match(row, {
          kind: 'fullnat',
          service,
          backend: 'r1',
          protocol: 'tcp',
          client: ADDRESSES.far1[family],
          server: vip,
          serverPort: PORT,
          state: 'established',
          dropped: false,
        })
        t.ok(isOfPool(row.local!), row.local!)
        t.ok(
          linesOf(server, 'said').includes(`${row.local} ${row.localPort} ${row.clientPort}`),
          'and the backend hears that client from there',
        )
        t.equal(row.idle + row.expires, 900)
        t.ok(row.idle < 900)
      }
      t.match(await daemon.json<FlowCount>('flow', 'count', service), {
        total: COUNT,
        kinds: { fullnat: COUNT },
        states: { established: COUNT },
        services: [{ service, total: COUNT, backends: [{ backend: 'r1', total: COUNT }] }],
      })

      await client.stop()
    })

  await t.test('UDP', async t => {
    t.ok((await askNames(lab.clients.near, VIP, 6)).every(who => who !== undefined))
    const listed = await list('dns')
    t.equal(listed.length, 6)
    for (const row of listed)
      t.match(row, {
        protocol: 'udp',
        client: ADDRESSES.near[0],
        server: VIP,
        serverPort: 53,
        state: 'udp-once',
      })
    t.same(await daemon.json('flow', 'drop', 'dns'), { dropped: 6, tracked: 0 })
    t.same(await list('dns'), [], 'over at once')
    t.ok(
      (await askNames(lab.clients.near, VIP, 6)).every(who => who !== undefined),
      'new ones come',
    )
  })
})
