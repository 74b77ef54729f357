/** Echo requests to a VIP: answered by the balancer, left to its host, or dropped. */
import t from 'tap'
import { openRoutedSite } from '../fixtures/routed-site.js'
import { countVerdicts, skip } from '../fixtures/site.js'

const words = ['answer', 'pass', 'drop'] as const
const vips = words.flatMap((word, i) =>
  ([4, 6] as const).map(family => ({
    name: `${word}-${family}`,
    word,
    vip: family === 4 ? `192.0.2.${10 + i}` : `2001:db8::${10 + i}`,
  })),
)
const COUNT = 5

t.test('ping', { skip }, async t => {
  const { lab, daemon } = await openRoutedSite(t, { vips: vips.map(({ vip }) => vip), backends: 1 }, lab => ({
    interfaces: ['eth0', 'eth1'],
    services: Object.fromEntries(
      vips.map(({ name, word, vip }) => [
        name,
        {
          vip,
          port: 80,
          forward: 'ipip',
          'ring-size': 251,
          // `answer` is what is meant when nothing is said.
          ...(word === 'answer' ? {} : { ping: word }),
          backends: [{ name: 'b1', address: lab.backends[0]!.address }],
        },
      ]),
    ),
  }))
  const ping = async (vip: string, bytes: number) => {
    const command = ['-n', '-c', String(COUNT), '-i', '0.02', '-W', '1', '-s', String(bytes), vip] as const
    const { code, stdout } = await lab.client.capture(['ping', ...command])
    return { code, received: Number(/(\d+) received/.exec(stdout)?.[1]) }
  }
  const counted = async (verdict: string, body: () => Promise<void>) => {
    const before = (await countVerdicts(daemon))[verdict] ?? 0
    await body()
    return ((await countVerdicts(daemon))[verdict] ?? 0) - before
  }
  for (const { name, word, vip } of vips)
    await t.test(name, async t => {
      const verdict = { answer: 'TX_PING', pass: 'PASS_PING', drop: 'DROP_PING' }[word]
      const received = word === 'drop' ? 0 : COUNT
      const packets = await counted(verdict, async () => {
        for (const bytes of word === 'drop' ? [56] : [0, 56, 1400])
          t.match(await ping(vip, bytes), { received }, `${bytes} bytes`)
      })
      t.equal(packets, word === 'drop' ? COUNT : 3 * COUNT, verdict)
    })
})
