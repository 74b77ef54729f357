import t from 'tap'
import { VIP, VIP6 } from '../../src/lab/lab.js'
import { download, makeFile, upload } from '../../src/lab/transfer.js'
import { ask, fetchNames, inUrl, openSite, serve, skip } from '../fixtures/site.js'

const SIZES = [1 << 20, 20 << 20]

for (const arms of [1, 2] as const) {
  const way = arms === 1 ? 'one arm' : 'two arms'
  const verdict = arms === 1 ? 'TX_DR' : 'REDIRECT_DR'

  t.test(`${way}: the clients' traffic reaches the backends`, { skip }, async t => {
    const { lab, daemon } = await openSite(t, { arms })
    for (const bytes of SIZES) makeFile(lab, `random-${bytes}`, bytes)

    for (const [family, vip] of [
      ['IPv4', VIP],
      ['IPv6', VIP6],
    ] as const) {
      await t.test(`${family}: HTTP connections spread over all backends`, async t => {
        const names = new Set(await fetchNames(lab.client, inUrl(vip), 60))
        t.same([...names].sort(), ['b1', 'b2', 'b3'])
      })

      await t.test(`${family}: a backend sees the client and the VIP as the client sent them`, async t => {
        const lines = lab.backends
          .flatMap(backend => backend.web.served())
          .filter(line => line.server === vip)
        const client = { IPv4: { 1: '10.0.0.1', 2: '10.0.1.1' }, IPv6: { 1: 'fd00:10::1', 2: 'fd00:11::1' } }
        t.equal(lines.length, 60)
        t.same([...new Set(lines.map(line => line.client))], [client[family][arms]])
      })

      for (const bytes of SIZES)
        await t.test(`${family}: ${bytes >> 20} MB arrive intact both ways`, async t => {
          t.match(await download(lab, inUrl(vip), `random-${bytes}`), { bytes, intact: true })
          t.match(await upload(lab, inUrl(vip), `random-${bytes}`), { bytes, intact: true })
        })

      await t.test(`${family}: datagrams are answered by all backends`, async t => {
        for (const backend of lab.backends) await serve(backend, 'udp-echo', backend.name, 7, vip)
        const answers = JSON.parse(await ask(lab.client, 'udp-ask', vip, 7, 60, 32)) as string[]
        t.same([...new Set(answers)].sort(), ['b1', 'b2', 'b3'])
      })
    }

    await t.test('all of it is counted under the verdict of that way', async t => {
      const { interfaces, verdicts } = await daemon.ready()
      t.same(
        interfaces.map(({ name, mode }) => ({ name, mode })),
        [{ name: 'eth0', mode: 'native' }],
      )
      const forwarded = Object.entries(verdicts)
        .filter(([name, count]) => name.endsWith('_DR') && count.packets !== '0')
        .map(([name]) => name)
      t.same(forwarded, [verdict])
      t.ok(BigInt(verdicts[verdict]?.bytes ?? 0) > 42n << 20n, 'bytes of both uploads')
    })
  })
}
