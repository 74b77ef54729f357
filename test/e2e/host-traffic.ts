import t from 'tap'
import { VIP, VIP6 } from '../../src/lab/lab.js'
import { ask, openSite, serve, skip } from '../fixtures/site.js'

t.test('the balancer stays reachable through the interface that XDP runs on', { skip }, async t => {
  const { lab, daemon } = await openSite(t)

  await t.test('ping, to its address and to the VIPs, long ones in fragments too', async t => {
    for (const address of ['10.0.0.2', 'fd00:10::2', VIP, VIP6])
      for (const bytes of ['56', '4000']) {
        const { code, stdout } = await lab.client.capture([
          'ping',
          '-c',
          '2',
          '-i',
          '0.2',
          '-W',
          '2',
          '-s',
          bytes,
          address,
        ])
        t.equal(code, 0, `${bytes} bytes to ${address}: ${stdout}`)
      }
  })

  await t.test('its own TCP server, also on a port of the VIP that is no service', async t => {
    await serve(lab.balancer, 'tcp-echo', 2222)
    for (const address of ['10.0.0.2', 'fd00:10::2', VIP, VIP6])
      t.equal(await ask(lab.client, 'tcp-connect', address, 2222), 'connected', address)
  })

  await t.test('its own UDP server, also with datagrams in fragments', async t => {
    await serve(lab.balancer, 'udp-echo', 'host', 5353, '10.0.0.2', VIP, VIP6)
    for (const address of ['10.0.0.2', VIP, VIP6])
      for (const bytes of [32, 5000])
        t.equal(
          await ask(lab.client, 'udp-ask', address, 5353, 1, bytes),
          '["host"]',
          `${bytes} bytes to ${address}`,
        )
  })

  await t.test('a closed port of the VIP is refused by the host itself', async t => {
    t.equal(await ask(lab.client, 'tcp-connect', VIP, 81), 'ECONNREFUSED')
  })

  const { verdicts } = await daemon.ready()
  t.not(verdicts.PASS_NOT_A_SERVICE?.packets ?? '0', '0', 'counted as PASS_NOT_A_SERVICE')
  t.not(verdicts.PASS_FRAGMENT?.packets ?? '0', '0', 'fragments counted as PASS_FRAGMENT')
  t.not(verdicts.PASS_NOT_IP?.packets ?? '0', '0', 'ARP counted as PASS_NOT_IP')
})
