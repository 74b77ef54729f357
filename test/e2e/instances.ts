import t from 'tap'
import { fetchNames, openLab, skip, startOn } from '../fixtures/site.js'

const [FIRST, SECOND] = ['192.0.2.10', '192.0.2.20']

t.test('two instances share a host, each with its interface and its services', { skip }, async t => {
  const lab = await openLab(t, { arms: 2, vips: [FIRST, SECOND] })
  const neighbour = await lab.addNeighbour()
  const config = (device: string, vip: string, names: readonly string[]) => ({
    interfaces: [device],
    services: {
      web: {
        vip,
        port: 80,
        protocol: 'tcp',
        backends: lab.backends
          .filter(({ name }) => names.includes(name))
          .map(({ name, address }) => ({ name, address })),
      },
    },
  })
  const first = startOn(lab, config('eth0', FIRST, ['b1', 'b2']), 'first')
  const second = startOn(lab, config('eth1', SECOND, ['b2', 'b3']), 'second')
  const [one, two] = await Promise.all([first.ready(), second.ready()])
  t.not(one.instance, two.instance)
  t.equal(one.program.tag, two.program.tag, 'the same program')

  t.same([...new Set(await fetchNames(lab.client, FIRST, 40))].sort(), ['b1', 'b2'])
  t.same([...new Set(await fetchNames(neighbour, SECOND, 40))].sort(), ['b2', 'b3'])

  t.equal((await first.stop()).code, 0)
  t.same([...new Set(await fetchNames(neighbour, SECOND, 40))].sort(), ['b2', 'b3'], 'the other goes on')
  await second.ready()
})
