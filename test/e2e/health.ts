import t from 'tap'
import { VIP } from '../../src/lab/lab.js'
import { fetchNames, openSite, skip } from '../fixtures/site.js'

t.test('a backend whose web server ends leaves the ring, and comes back with it', { skip }, async t => {
  const { lab, daemon } = await openSite(t)
  const before = await daemon.ring('web4')
  const victim = lab.backends[1]!

  await victim.web.stop()
  const down = await daemon.until('web4', 'b2', row => row.health === 'down' && row.slots === 0)
  t.type(down.reason, 'string', 'status says why it gets no packets')
  t.same([...new Set(await fetchNames(lab.client, VIP, 60))].sort(), ['b1', 'b3'])

  await victim.web.start()
  await daemon.until('web4', 'b2', row => row.health === 'up' && row.slots > 0)
  t.same([...new Set(await fetchNames(lab.client, VIP, 60))].sort(), ['b1', 'b2', 'b3'])
  t.equal((await daemon.ring('web4')).digest, before.digest, 'the ring is as it was')
})

t.test('a backend whose check has never passed gets nothing', { skip }, async t => {
  const { lab, daemon } = await openSite(t)
  const text = JSON.parse(JSON.stringify({ name: 'b9', address: '10.0.0.99' })) as {
    name: string
    address: string
  }
  const { code, stderr } = await daemon.linimo(
    'backend',
    'add',
    `web4/${text.name}`,
    '--address',
    text.address,
  )
  t.equal(code, 0, stderr)
  const row = await daemon.until('web4', 'b9', row => row.health === 'down')
  t.equal(row.slots, 0)
  t.same([...new Set(await fetchNames(lab.client, VIP, 30))].sort(), ['b1', 'b2', 'b3'])
})
