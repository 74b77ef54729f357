/** From the flow to its slot. The hash itself is held against the model's by the differential test. */
import t from 'tap'
import type { HashPart } from '../../src/model.js'
import { instance, sent, VIP, VIP6 } from '../fixtures/cases.js'
import { modelAnswer } from '../fixtures/compare.js'
import { seededRandom } from '../fixtures/random.js'
import { backendEntry, entryInterface, hashKeys, serviceEntry } from '../fixtures/tables.js'
import { tcp } from '../fixtures/transport.js'
import type { Tables } from '../model/tables.js'

const BACKENDS = Array.from({ length: 16 }, (_, i) => i + 1)
const ALL_PARTS: readonly HashPart[] = ['source', 'source-port', 'destination', 'destination-port']

const tablesOf = (hash: readonly HashPart[], ports = [80], ringSize = 65537): Tables => ({
  hashKeys,
  services: [VIP, VIP6]
    .flatMap(vip => ports.map(port => ({ vip, port, hash, owners: BACKENDS, ringSize })))
    .map((spec, id) => serviceEntry(id, spec)),
  backends: BACKENDS.map(id => backendEntry(id, 0)),
  interfaces: [entryInterface],
  vips: [],
})

interface Flow {
  readonly host: number
  readonly port: number
}

const frames = (vip: string, flows: readonly Flow[], to = 80): Uint8Array[] =>
  flows.map(({ host, port }) => {
    const from = vip.includes(':') ? `2001:db8:1::${host.toString(16)}` : `198.18.${host >> 8}.${host & 255}`
    return sent(vip, tcp({ from: port, to }), { ip: { from } })
  })

const distinct = (values: readonly unknown[]): number => new Set(values).size

t.test('only the parts that a service names move a flow', async t => {
  const manyHosts = Array.from({ length: 200 }, (_, i) => ({ host: i + 1, port: 40000 }))
  const manyPorts = Array.from({ length: 200 }, (_, i) => ({ host: 1, port: 1024 + i * 7 }))
  const expected: readonly [readonly HashPart[], boolean, boolean][] = [
    [ALL_PARTS, true, true],
    [['source'], true, false],
    [['source-port'], false, true],
    [['source', 'destination-port'], true, false],
    [['destination'], false, false],
    [['destination-port'], false, false],
  ]
  for (const [hash, byHost, byPort] of expected) {
    const dataPlane = await instance(t, tablesOf(hash))
    for (const vip of [VIP, VIP6]) {
      const backends = (flows: readonly Flow[]): number =>
        distinct(dataPlane.runAll(frames(vip, flows)).map(answer => answer.backend?.id))
      t.equal(backends(manyHosts) > 1, byHost, `${hash.join(', ')}: ${vip}, by source address`)
      t.equal(backends(manyPorts) > 1, byPort, `${hash.join(', ')}: ${vip}, by source port`)
    }
  }
})

t.test('the same flow always comes to the same backend', async t => {
  const dataPlane = await instance(t, tablesOf(ALL_PARTS))
  for (const vip of [VIP, VIP6]) {
    const [frame] = frames(vip, [{ host: 77, port: 5555 }])
    t.equal(
      distinct(dataPlane.runAll(Array.from({ length: 100 }, () => frame!)).map(answer => answer.backend?.id)),
      1,
    )
  }
})

t.test('a client’s flows to two services are two flows, though the hash be of the source alone', async t => {
  const dataPlane = await instance(t, tablesOf(['source'], [80, 443]))
  const hosts = Array.from({ length: 300 }, (_, i) => ({ host: i, port: 40000 }))
  for (const vip of [VIP, VIP6]) {
    const [http, https] = [80, 443].map(port =>
      dataPlane.runAll(frames(vip, hosts, port)).map(answer => answer.backend?.id),
    )
    const same = http!.filter((backend, i) => backend === https![i]).length
    t.ok(same < 60, `${vip}: ${same} of 300 clients have one backend for both`)
  }
})

t.test('every slot of a ring is reached, and none beyond it', async t => {
  const tables = tablesOf(ALL_PARTS, [80], 251)
  const own = {
    ...tables,
    services: tables.services.map(service => ({
      ...service,
      slots: service.slots.map((_, slot) => slot + 1),
    })),
    backends: Array.from({ length: 251 }, (_, i) =>
      backendEntry(i + 1, 0, { nextHopMac: '02:00:00:00:0b:01' }),
    ),
  }
  const dataPlane = await instance(t, own)
  const random = seededRandom(11)
  for (const vip of [VIP, VIP6]) {
    const flows = Array.from({ length: 5000 }, () => ({
      host: random.below(65536),
      port: random.below(65536),
    }))
    t.equal(distinct(dataPlane.runAll(frames(vip, flows)).map(answer => answer.backend?.id)), 251)
  }
})

/** The 99.99 % quantile of chi-square with 15 degrees of freedom. */
const CHI_SQUARE_LIMIT = 44.3

t.test('realistic and structured flows spread evenly over the backends', async t => {
  const dataPlane = await instance(t, tablesOf(ALL_PARTS))
  const random = seededRandom(5)
  const sets: Readonly<Record<string, readonly Flow[]>> = {
    'random clients and ports': Array.from({ length: 16000 }, () => ({
      host: random.below(65536),
      port: random.between(1024, 65535),
    })),
    'one client, ports in order': Array.from({ length: 16000 }, (_, i) => ({ host: 9, port: 32768 + i })),
    'one port, clients in order': Array.from({ length: 16000 }, (_, i) => ({ host: i, port: 40000 })),
    'even ports, as Linux chooses them': Array.from({ length: 14000 }, (_, i) => ({
      host: 9,
      port: 32768 + i * 2,
    })),
    'clients that differ in the third byte': Array.from({ length: 16000 }, (_, i) => ({
      host: ((i % 256) << 8) | 1,
      port: 1024 + (i >> 8),
    })),
  }
  for (const [name, flows] of Object.entries(sets))
    for (const vip of [VIP, VIP6]) {
      const counts = new Map<number, number>()
      for (const { backend } of dataPlane.runAll(frames(vip, flows)))
        counts.set(backend?.id ?? 0, (counts.get(backend?.id ?? 0) ?? 0) + 1)
      const share = flows.length / BACKENDS.length
      const chiSquare = BACKENDS.reduce((sum, id) => sum + ((counts.get(id) ?? 0) - share) ** 2 / share, 0)
      t.ok(chiSquare < CHI_SQUARE_LIMIT, `${vip}, ${name}: chi-square ${chiSquare.toFixed(1)}`)
    }
})

t.test('an empty slot and an empty ring have no backend', async t => {
  const tables = tablesOf(ALL_PARTS, [80], 251)
  for (const empty of [{ slots: new Uint32Array(251) }, { slots: new Uint32Array(0), ringSize: 0 }]) {
    const own = {
      ...tables,
      services: tables.services.map(service => ({ ...service, ...empty, noBackend: 'drop' as const })),
    }
    const dataPlane = await instance(t, own)
    for (const vip of [VIP, VIP6])
      t.match(dataPlane.run(frames(vip, [{ host: 1, port: 1 }])[0]!), {
        verdict: 'DROP_NO_BACKEND',
        backend: null,
      })
  }
})

t.test('largest and smallest rings choose as the model does', async t => {
  for (const ringSize of [251, 655373]) {
    const tables = tablesOf(ALL_PARTS, [80], ringSize)
    const dataPlane = await instance(t, tables)
    for (const vip of [VIP, VIP6]) {
      const sentFrames = frames(
        vip,
        Array.from({ length: 500 }, (_, i) => ({ host: i, port: i * 131 })),
      )
      t.same(
        dataPlane.runAll(sentFrames).map(answer => answer.backend?.id),
        sentFrames.map(frame => modelAnswer(tables, frame).backend?.id),
      )
    }
  }
})
