/** What becomes of connections that the operator drops, by what both ends say. */
import t from 'tap'
import type { FlowRow } from '../../src/control/protocol.js'
import { COUNT, heldFamilies, linesOf, openHeldSite, until } from '../fixtures/held-flows.js'
import { skip } from '../fixtures/site.js'

t.test('connections of FULLNAT, dropped', { skip }, async t => {
  const { daemon, server, hold } = await openHeldSite(t)
  const list = (...args: string[]) => daemon.json<FlowRow[]>('flow', 'list', ...args)

  for (const { service, vip, family } of heldFamilies)
    await t.test(`over ${vip}`, async t => {
      const client = await hold(vip)
      const listed = await list(service)
      t.equal(listed.length, COUNT)
      const ended = async (row: FlowRow, title: string): Promise<void> => {
        const mine = String(row.clientPort)
        const theirs = `${row.local} ${row.localPort}`
        t.ok(
          (
            await until(
              () => linesOf(client, 'reset'),
              resets => resets.includes(mine),
            )
          ).includes(mine),
          `${title}: the client is reset`,
        )
        t.ok(
          (
            await until(
              () => linesOf(server, 'reset'),
              resets => resets.includes(theirs),
            )
          ).includes(theirs),
          `${title}: so is the server`,
        )
      }
      const [one, two, ...others] = listed
      const address = family === 0 ? one!.client : `[${one!.client}]`
      t.same(await daemon.json('flow', 'drop', service, '--client', `${address}:${one!.clientPort}`), {
        dropped: 1,
        tracked: 0,
      })
      await ended(one!, 'by its client')
      t.same(await daemon.json('flow', 'drop', two!.id!), { dropped: 1, tracked: 0 })
      await ended(two!, 'by its id')
      t.same(
        linesOf(client, 'reset').map(Number).sort(),
        [one!.clientPort, two!.clientPort].sort(),
        'no other connection is',
      )
      const alive = (await list(service, '--state', 'established')).filter(({ dropped }) => !dropped)
      t.same(alive.map(({ id }) => id).sort(), others.map(({ id }) => id).sort())
      t.same(await daemon.json('flow', 'drop', service), { dropped: COUNT - 2, tracked: 0 })
      for (const row of others) await ended(row, 'by its service')
      t.same(linesOf(client, 'end'), [], 'none ended otherwise')
      await client.stop()
    })
})
