import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Status } from '../../src/control/protocol.js'
import { VIP } from '../../src/lab/lab.js'
import { skip } from '../fixtures/site.js'
import { createJudge } from '../soak/judge.js'
import { openSoak, PORT, RING_SIZE, SEED, SERVICES, soakProgram } from '../soak/site.js'

const FRAMES = 3_000_000
const PER_SECOND = 250_000
const CONNECTIONS = 240

t.test('a flood of SYNs during a transition breaks nobody', { skip, timeout: 170_000 }, async t => {
  const kinds = { steady: 180, resting: 60, datagrams: 20, steadyMs: 700, restingMs: 10_000 }
  const site = await openSoak({ backends: 5, isUpgrading: false, isChecked: false, ...kinds })
  t.teardown(() => site.close())
  const judge = createJudge({
    seed: SEED,
    vip: VIP,
    port: PORT,
    client: '10.0.0.1',
    ringSize: RING_SIZE,
    onBroken: over => t.comment(JSON.stringify(over)),
  })
  const listen = () => {
    for (const said of site.heard()) judge.hear(said)
  }
  for (let waited = 0; judge.open().tcp < CONNECTIONS * 0.98; waited += 100) {
    if (waited > 30_000) throw new Error(`only ${judge.open().tcp} connections are open`)
    await sleep(100)
    listen()
  }
  const neighbour = await site.lab.addNeighbour()
  const [link] = JSON.parse(await site.lab.balancer.run(['ip', '-j', 'link', 'show', 'eth0'])) as {
    address: string
  }[]
  const weight = (backend: string, weight: number) =>
    site.control(async client => {
      for (const service of SERVICES) await client.backend.set(service, backend, { weight })
    })

  await weight('b1', 3)
  const fresh = site.lab.client.start(soakProgram('fresh', VIP, String(PORT), '40'))
  const flood = neighbour.start(
    soakProgram('flood', 'eth0', link!.address, VIP, String(PORT), String(FRAMES), String(PER_SECOND)),
  )
  const before = await site.control(client => client.status())
  await sleep(4000)
  await weight('b2', 2)
  await site.control(client => client.backend.drain('echo', 'b5', { deadline: 3600 }))
  await sleep(3000)
  await weight('b1', 1)
  const { code, stdout, stderr } = await flood.exited
  t.equal(code, 0, stderr)
  const after = await site.control(client => client.status())
  // Whoever rests asks again, twice.
  await sleep(22_000)
  fresh.stdin.end()
  const { tried, failed } = JSON.parse((await fresh.exited).stdout) as { tried: number; failed: number }
  await site.endClient()
  listen()

  const packets = (status: Status): number =>
    status.services
      .filter(({ service }) => service === 'echo')
      .reduce((sum, one) => sum + Number(one.packets), 0)
  const { broken, excused, connections, answered } = judge.verdict()
  t.comment(`${stdout.trim()} SYNs sent, ${packets(after) - packets(before)} balanced`)
  t.comment(
    `${connections} connections, ${answered} answers; ${failed} of ${tried} new ones failed; ${JSON.stringify(after.flowCache)}`,
  )
  t.ok(packets(after) - packets(before) > FRAMES / 3, 'a million SYNs and more reached a backend')
  t.ok(after.flowCache!.live > after.flowCache!.entries / 4, 'and filled the flow cache')
  t.equal(broken.length, 0, 'established connections that were lost')
  t.same(excused, {})
  t.ok(tried > 300 && failed <= tried / 100, `${failed} of ${tried} new connections failed`)
})
