import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { EVERY_MS, echoConfig, hold, openEchoSite } from '../fixtures/echo-site.js'
import { skip } from '../fixtures/site.js'

t.test('a backend that is removed leaves; added again it is as it was', { skip }, async t => {
  const site = await openEchoSite(t)
  const { daemon, lab } = site
  const before = await daemon.ring('echo')
  const old = await hold(site, 60)
  const { held } = await old.report()
  t.match(await daemon.json('backend', 'remove', 'echo/b2'), { backend: 'b2', isLeaving: true })
  t.match(await daemon.json('backend', 'show', 'echo/b2'), { state: 'leaving', slots: 0 })
  t.same(
    (await daemon.ring('echo')).backends.map(({ backend }) => backend),
    ['b1', 'b3'],
  )
  await sleep(4 * EVERY_MS)
  t.match(await old.report(), { held, broken: {}, moved: 0 })

  const { address } = lab.backends[1]!
  t.match(await daemon.json('backend', 'add', 'echo/b2', '--address', address), { state: 'enabled' })
  t.equal((await daemon.ring('echo')).digest, before.digest)
  await sleep(2 * EVERY_MS)
  t.match(await old.report(), { held, broken: {}, moved: 0 })

  daemon.writeConfig(JSON.stringify(echoConfig(lab, ['b1', 'b3'])))
  t.equal((await daemon.linimo('apply')).code, 0)
  t.match(
    await daemon.json('backend', 'show', 'echo/b2'),
    { state: 'leaving' },
    'taken out of the file: the same',
  )
  await sleep(4 * EVERY_MS)
  t.match(await old.report(), { held, broken: {}, moved: 0 })
  await old.end()
  for (let waited = 0; ; waited += 500) {
    const { code } = await daemon.linimo('backend', 'show', 'echo/b2')
    if (code === 6) break
    if (waited > 60_000) throw new Error('it does not go')
    await sleep(500)
  }
  t.pass('it goes when its connections have ended')
})

t.test('remove --now and disable cut at once; the others are left alone', { skip }, async t => {
  const site = await openEchoSite(t)
  const { daemon } = site
  const old = await hold(site, 60)
  const { held } = await old.report()
  t.match(await daemon.json('backend', 'remove', 'echo/b2', '--now'), { isLeaving: false })
  t.equal((await daemon.linimo('backend', 'show', 'echo/b2')).code, 6)
  t.match(await daemon.json('backend', 'disable', 'echo/b3'), {
    state: 'disabled',
    slots: 0,
    reason: 'disabled',
  })
  await sleep(4 * EVERY_MS)
  const after = await old.report()
  t.same(after.broken, { b2: held.b2, b3: held.b3 })
  t.equal(after.held.b1, held.b1)
  t.match(await daemon.json('backend', 'enable', 'echo/b3'), { state: 'enabled' })
  t.equal((await daemon.linimo('backend', 'drain', 'echo/b9')).code, 6)
})
