import { mkdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { buildAnother } from '../fixtures/other-build.js'
import { openPinnedSite, pinnedConfig } from '../fixtures/pinned-site.js'
import { attachedXdp, skip } from '../fixtures/site.js'

t.test('another build takes over under load, there and back, without losing a packet', { skip }, async t => {
  const site = await openPinnedSite(t)
  const directory = `${site.lab.directory}/other`
  mkdirSync(directory)
  const cli = buildAnother(directory)
  const config = pinnedConfig(site.lab)
  const first = site.start(config)
  const { program } = await first.ready()
  const ring = await first.ring('echo4')
  const stream = await site.stream()
  await sleep(500)

  const tags: string[] = []
  let daemon = first
  for (const build of [{ cli }, {}, { cli }]) {
    const before = await attachedXdp(site.lab.balancer, 'eth0')
    await daemon.stop(tags.length === 1 ? 'SIGTERM' : 'SIGKILL')
    daemon = site.start(config, build)
    tags.push((await daemon.ready()).program.tag)
    t.not((await attachedXdp(site.lab.balancer, 'eth0'))?.id, before?.id, 'another program is attached')
    t.same(await daemon.ring('echo4'), ring)
  }
  await sleep(500)
  const { sent, lost, torn } = await stream.end()
  t.equal(lost, 0, `of ${sent} packets`)
  t.equal(torn, 0)
  t.not(tags[0], program.tag)
  t.same(tags, [tags[0], program.tag, tags[0]])
})
