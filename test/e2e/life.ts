import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { VIP } from '../../src/lab/lab.js'
import type { Host } from '../../src/lab/namespaces.js'
import { attachedXdp, fetchNames, openLab, openSite, siteConfig, skip, startOn } from '../fixtures/site.js'

const OTHER_PROGRAM = fileURLToPath(new URL('../../build/native/bpf/lab_pass.bpf.o', import.meta.url))

/** The kernel detaches a dead process's link a moment later. */
const untilDetached = async (host: Host, device: string) => {
  for (let attempt = 0; attempt < 100 && (await attachedXdp(host, device)); attempt++) await sleep(50)
  return attachedXdp(host, device)
}

t.test('without pins SIGTERM detaches and ends the daemon', { skip }, async t => {
  const { lab, daemon } = await openSite(t, { backends: 1 })
  t.match(await attachedXdp(lab.balancer, 'eth0'), { mode: 'native' })
  const { code, signal } = await daemon.stop('SIGTERM')
  t.same({ code, signal }, { code: 0, signal: null })
  t.equal(await attachedXdp(lab.balancer, 'eth0'), null)
  t.notOk(existsSync(daemon.socket), 'the socket is gone')
  t.equal((await daemon.linimo('status')).code, 4, 'the CLI says that no daemon is there')
})

t.test('after kill -9 the daemon starts again, with the same ring', { skip }, async t => {
  const { lab, daemon } = await openSite(t)
  const before = await daemon.ring('web4')
  const { signal } = await daemon.stop('SIGKILL')
  t.equal(signal, 'SIGKILL')
  t.equal(await untilDetached(lab.balancer, 'eth0'), null)

  const again = startOn(lab, siteConfig(lab))
  await again.ready()
  t.same(await again.ring('web4'), before)
  t.same([...new Set(await fetchNames(lab.client, VIP, 60))].sort(), ['b1', 'b2', 'b3'])
})

t.test("another's XDP program is left alone, and the refusal says so", { skip }, async t => {
  const lab = await openLab(t, { backends: 1 })
  await lab.balancer.ip(`link set dev eth0 xdpdrv obj ${OTHER_PROGRAM} sec xdp`)
  const other = await attachedXdp(lab.balancer, 'eth0')
  const { code, stdout, stderr } = await startOn(lab, siteConfig(lab)).running.exited
  t.equal(code, 7)
  t.match(stdout + stderr, /eth0/)
  t.match(stdout + stderr, /XDP program/)
  t.same(await attachedXdp(lab.balancer, 'eth0'), other)
})

t.test('a mistake in the config ends the start with exit 3 and touches nothing', { skip }, async t => {
  const lab = await openLab(t, { backends: 1 })
  const daemon = startOn(lab, siteConfig(lab, { interfacs: ['eth0'] }))
  const { code, stdout, stderr } = await daemon.running.exited
  t.equal(code, 3)
  t.match(stdout + stderr, /:\d+:\d+/, 'line and column')
  t.match(stdout + stderr, /did you mean .?interfaces/)
  t.equal(await attachedXdp(lab.balancer, 'eth0'), null)
  t.notOk(existsSync(daemon.socket))
})

t.test('a mistake in a reload leaves what runs as it is', { skip }, async t => {
  const { lab, daemon } = await openSite(t)
  const before = await daemon.ring('web4')
  daemon.writeConfig(JSON.stringify(siteConfig(lab, { interfacs: ['eth0'] })))
  t.equal((await daemon.linimo('apply')).code, 3)
  t.same(await daemon.ring('web4'), before)
  t.same([...new Set(await fetchNames(lab.client, VIP, 30))].sort(), ['b1', 'b2', 'b3'])
})

t.test('a second daemon of an instance is refused, the first goes on', { skip }, async t => {
  const { lab, daemon } = await openSite(t)
  const { code } = await startOn(lab, siteConfig(lab)).running.exited
  t.equal(code, 7)
  await daemon.ready()
  t.equal((await fetchNames(lab.client, VIP, 5)).length, 5)
})

t.test('where the device has no native XDP it falls back to generic, and says so', { skip }, async t => {
  const lab = await openLab(t)
  const { balancer, client } = lab
  await balancer.ip(
    'link add macvlan0 link eth0 type macvlan mode bridge',
    'addr add 10.0.0.3/24 dev macvlan0',
    'link set macvlan0 up',
  )
  await client.ip(`route replace ${VIP}/32 via 10.0.0.3`)
  await balancer.sysctl({ 'ipv4/conf/all/arp_ignore': 1 }) // 10.0.0.3 is on macvlan0, not on eth0

  const config = { ...siteConfig(lab), interfaces: ['macvlan0'] }
  const daemon = startOn(lab, config, 'generic')
  const { interfaces } = await daemon.ready()
  t.match(interfaces, [{ name: 'macvlan0', mode: 'generic' }])
  t.type(interfaces[0]?.reason, 'string', 'status says why')
  t.match(await attachedXdp(balancer, 'macvlan0'), { mode: 'generic' })
  t.same([...new Set(await fetchNames(client, VIP, 60))].length, 3)

  await daemon.stop()
  const strict = startOn(lab, { ...config, xdp: 'native' }, 'strict')
  t.equal((await strict.running.exited).code, 1, 'xdp: native does not fall back')
})
