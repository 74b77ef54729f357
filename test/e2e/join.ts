/** Real servers behind tunnels that are made by hand, on a host that has joined. */
import t, { type Test } from 'tap'
import { download, makeFile, upload } from '../../src/lab/transfer.js'
import { type JoinSite, openJoinSite, VIP4, VIP6 } from '../fixtures/join-site.js'
import { ask, inUrl, serve, skip } from '../fixtures/site.js'

const LARGE = 20 << 20
const SMALL = 2 << 20
const VIPS = ['--vip', `${VIP4},${VIP6}`, '--interface', 'eth0']

/** By encapsulate.py's word for it; the words for join; how much goes each way. */
const tunnels: readonly (readonly [mode: string, forward: readonly string[], bytes: number])[] = [
  ['ipip', ['--forward', 'ipip'], LARGE],
  ['gre', ['--forward', 'gre'], LARGE],
  ['gre:77', ['--forward', 'gre'], SMALL],
  ['gre:csum', ['--forward', 'gre'], SMALL],
  ['gue:6080', ['--forward', 'gue'], LARGE],
  ['gue1:7000', ['--forward', 'gue', '--port', '7000'], SMALL],
]

const fileOf = (bytes: number): string => `random-${bytes}`

const bothWays = async (t: Test, site: JoinSite, vip: string, bytes: number) => {
  t.match(await download(site, inUrl(vip), fileOf(bytes)), { bytes, intact: true })
  t.match(await upload(site, inUrl(vip), fileOf(bytes)), { bytes, intact: true })
}

const joined = async (t: Test, site: JoinSite, ...words: readonly string[]) => {
  const { code, stderr } = await site.linimo('join', ...VIPS, ...words)
  t.same([code, stderr], [0, ''], `join ${words.join(' ')}`)
}

t.test('a backend that has joined is reached through every tunnel', { skip }, async t => {
  const site = await openJoinSite(t)
  for (const bytes of [LARGE, SMALL]) makeFile(site, fileOf(bytes), bytes)
  for (const [mode, forward, bytes] of tunnels) {
    await joined(t, site, ...forward)
    for (const outer of [4, 6] as const) {
      await site.tunnel(mode, outer)
      for (const vip of [VIP4, VIP6])
        await t.test(
          `${mode} in IPv${outer}: ${vip}, ${bytes >> 20} MB both ways, and datagrams`,
          async t => {
            await bothWays(t, site, vip, bytes)
            const echo = await serve(site.backend, 'udp-echo', 'echo', 7, vip)
            t.same(JSON.parse(await ask(site.client, 'udp-ask', vip, 7, 5, 32)), Array(5).fill('echo'))
            await echo.stop()
          },
        )
    }
  }
  const served = site.web.served().filter(({ server }) => server === VIP4 || server === VIP6)
  t.ok(served.length >= 48, 'the web server has the VIPs as its own addresses')
  t.same([...new Set(served.map(({ client }) => client))].sort(), ['10.0.0.1', 'fd00:10::1'])

  await t.test('what it has counted is told', async t => {
    const words = [...VIPS, '--forward', 'gue', '--port', '7000']
    const { code, stdout } = await site.linimo('join', '--check', '--json', ...words)
    const { ok, decapsulators } = JSON.parse(stdout)
    t.same([code, ok], [0, true])
    t.match(decapsulators, [{ interface: 'eth0', mode: 'native' }])
    t.ok(decapsulators[0].counts.DECAP_GUE > (4 * SMALL) / 1500, 'four uploads at least')
  })

  await t.test(
    'after it has left nobody is served, and another tunnel than was joined is not taken',
    async t => {
      const get = (vip: string) => site.client.capture(['curl', '-sS', '-m', '2', `http://${inUrl(vip)}/`])
      t.equal((await get(VIP4)).code, 0)
      await site.tunnel('ipip', 4)
      t.not((await get(VIP4)).code, 0)
      await joined(t, site, '--forward', 'ipip')
      t.equal((await get(VIP4)).code, 0)
      t.equal((await site.linimo('leave')).code, 0)
      t.not((await get(VIP4)).code, 0)
    },
  )
})

t.test('generic XDP does the same', { skip }, async t => {
  const site = await openJoinSite(t)
  makeFile(site, fileOf(LARGE), LARGE)
  await joined(t, site, '--forward', 'ipip,gue', '--xdp', 'generic')
  for (const [mode, outer, vip] of [
    ['ipip', 4, VIP4],
    ['ipip', 6, VIP6],
    ['ipip', 4, VIP6],
    ['gue:6080', 6, VIP4],
  ] as const) {
    await site.tunnel(mode, outer)
    await t.test(`${mode} in IPv${outer}: ${vip}`, t => bothWays(t, site, vip, LARGE))
  }
})

t.test('the segment size is what keeps an upload out of a black hole', { skip }, async t => {
  const site = await openJoinSite(t)
  makeFile(site, fileOf(SMALL), SMALL)
  await site.tunnel('ipip', 4)
  await joined(t, site, '--forward', 'ipip', '--no-advmss')
  t.match(await download(site, VIP4, fileOf(SMALL)), { intact: true })
  const put = ['curl', '-sS', '-m', '3', '-o', '/dev/null', '-T', `${site.files}/${fileOf(SMALL)}`] as const
  t.equal(
    (await site.client.capture([...put, `http://${VIP4}/upload`])).code,
    28,
    'without it the upload hangs',
  )
  await joined(t, site, '--forward', 'ipip')
  await bothWays(t, site, VIP4, SMALL)
})

t.test('the answer to a SYN says it', { skip }, async t => {
  const site = await openJoinSite(t)
  await site.tunnel('gre', 4)
  await joined(t, site, '--forward', 'gre', '--address', '10.0.0.11')
  const capture = site.client.start([
    'tshark',
    '-l',
    '-n',
    '-i',
    'eth0',
    '-T',
    'fields',
    '-e',
    'tcp.options.mss_val',
    '-Y',
    'tcp.flags.syn==1 && tcp.flags.ack==1',
    '-c',
    '40',
  ])
  for (let waited = 0; !/Capturing/.test(capture.output().stderr) && waited < 10_000; waited += 50)
    await new Promise(resolve => setTimeout(resolve, 50))
  for (let asked = 0; asked < 50 && capture.output().stdout === ''; asked++)
    await site.client.run(['curl', '-sS', '-m', '5', `http://${VIP4}/`])
  await capture.stop()
  t.equal(capture.output().stdout.split('\n')[0], '1432', '1500 - 20 - 8 - 40')
})
