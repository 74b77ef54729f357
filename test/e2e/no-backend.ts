import t from 'tap'
import { VIP, VIP6 } from '../../src/lab/lab.js'
import { ask, openLab, siteConfig, skip, startOn } from '../fixtures/site.js'

const drained = { name: 'b1', address: '10.0.0.11', weight: 0 }
const drained6 = { name: 'b1', address: 'fd00:10::11', weight: 0 }

const config = (noBackend: 'reject' | 'drop') => {
  const rules = { 'no-backend': noBackend, 'last-resort': 'none' }
  return {
    interfaces: ['eth0'],
    services: {
      tcp4: { vip: VIP, port: 80, protocol: 'tcp', ...rules, backends: [drained] },
      tcp6: { vip: VIP6, port: 80, protocol: 'tcp', ...rules, backends: [drained6] },
      udp4: { vip: VIP, port: 7, protocol: 'udp', ...rules, backends: [drained] },
      udp6: { vip: VIP6, port: 7, protocol: 'udp', ...rules, backends: [drained6] },
    },
  }
}

t.test('without a backend the client is told so at once', { skip }, async t => {
  const lab = await openLab(t, { backends: 1 })
  const daemon = startOn(lab, config('reject'))
  await daemon.ready()

  for (const vip of [VIP, VIP6]) {
    t.equal(await ask(lab.client, 'tcp-connect', vip, 80), 'ECONNREFUSED', `TCP to ${vip}`)
    t.equal(await ask(lab.client, 'udp-ask', vip, 7, 1, 32), '["ECONNREFUSED"]', `UDP to ${vip}`)
    t.equal(
      await ask(lab.client, 'udp-ask', vip, 7, 1, 1400),
      '["ECONNREFUSED"]',
      `a long datagram to ${vip}`,
    )
  }
  const { verdicts } = await daemon.ready()
  t.ok(Number(verdicts.TX_REJECT_RST?.packets) >= 2, 'counted as TX_REJECT_RST')
  t.ok(Number(verdicts.TX_REJECT_UNREACHABLE?.packets) >= 4, 'counted as TX_REJECT_UNREACHABLE')

  await t.test('and with no-backend: drop it hears nothing', async t => {
    daemon.writeConfig(JSON.stringify(config('drop')))
    t.equal((await daemon.linimo('apply')).code, 0)
    t.equal(await ask(lab.client, 'tcp-connect', VIP, 80), 'silence')
    t.equal(await ask(lab.client, 'udp-ask', VIP6, 7, 1, 32), '["silence"]')
    const { verdicts } = await daemon.ready()
    t.ok(Number(verdicts.DROP_NO_BACKEND?.packets) >= 3, 'counted as DROP_NO_BACKEND')
  })
})

t.test('the default is to reject', { skip }, async t => {
  const lab = await openLab(t, { backends: 1 })
  const { services } = siteConfig(lab)
  const web = (services as Record<string, object>).web4
  await lab.backends[0]?.web.stop()
  const daemon = startOn(lab, { interfaces: ['eth0'], services: { web } })
  await daemon.json('status', '--wait', '20s')
  t.equal(await ask(lab.client, 'tcp-connect', VIP, 80), 'ECONNREFUSED')
})
