import t from 'tap'
import { download, makeFile, upload } from '../../src/lab/transfer.js'
import { openJoinSite, VIP4, VIP6 } from '../fixtures/join-site.js'
import { ask, inUrl, serve, skip } from '../fixtures/site.js'

const SIZE = 20 << 20
const FILE = 'random'

/** By encapsulate.py's word for it; the words for join. */
const tunnels: readonly (readonly [mode: string, forward: readonly string[]])[] = [
  ['ipip', ['--forward', 'ipip']],
  ['gre', ['--forward', 'gre']],
  ['gre:77', ['--forward', 'gre']],
  ['gre:csum', ['--forward', 'gre']],
  ['gue:6080', ['--forward', 'gue']],
  ['gue1:7000', ['--forward', 'gue', '--port', '7000']],
]

t.test('a backend that has joined is reached through every tunnel', { skip }, async t => {
  const site = await openJoinSite(t)
  makeFile(site, FILE, SIZE)
  for (const [mode, forward] of tunnels) {
    const { code, stderr } = await site.linimo(
      'join',
      '--vip',
      `${VIP4},${VIP6}`,
      '--interface',
      'eth0',
      ...forward,
    )
    t.same([code, stderr], [0, ''], `join ${forward.join(' ')}`)
    for (const outer of [4, 6] as const) {
      await site.tunnel(mode, outer)
      for (const vip of [VIP4, VIP6]) {
        await t.test(`${mode} in IPv${outer}: ${vip} serves 20 MB both ways, and datagrams`, async t => {
          t.match(await download(site, inUrl(vip), FILE), { bytes: SIZE, intact: true })
          t.match(await upload(site, inUrl(vip), FILE), { bytes: SIZE, intact: true })
          const echo = await serve(site.backend, 'udp-echo', 'echo', 7, vip)
          t.same(JSON.parse(await ask(site.client, 'udp-ask', vip, 7, 5, 32)), Array(5).fill('echo'))
          await echo.stop()
        })
      }
    }
  }
  const served = site.web.served().filter(({ server }) => server === VIP4 || server === VIP6)
  t.ok(served.length >= 48, 'the web server has the VIPs as its own addresses')

  await t.test('what it has counted is told', async t => {
    const { code, stdout } = await site.linimo(
      ...['join', '--check', '--json', '--vip', `${VIP4},${VIP6}`, '--interface', 'eth0'],
      ...['--forward', 'gue', '--port', '7000'],
    )
    const { ok, decapsulators } = JSON.parse(stdout)
    t.same([code, ok], [0, true])
    t.match(decapsulators, [{ interface: 'eth0', mode: 'native' }])
    t.ok(decapsulators[0].counts.DECAP_GUE > 20_000)
  })
})
