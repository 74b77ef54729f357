import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { addTraffic } from '../../src/dataplane/counters.js'
import { Dataplane, shapeFor } from '../../src/dataplane/dataplane.js'
import { createTables, type Tables } from '../../src/dataplane/tables.js'
import type { Log } from '../../src/log.js'
import { ifindexOf, mountBpffs, vethPair } from '../fixtures/host.js'
import { inOwnNamespaces, native, skip } from '../fixtures/native.js'
import { service as tracked, WEB, webInTurn } from '../fixtures/web.js'

const SEED = '000102030405060708090a0b0c0d0e0f'
const silent: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

const service = { ...tracked, tracking: 'never' } as const

/** A data plane that is pinned, opened again and again, and time that passes when it is told to. */
const openSite = (t: Test) => {
  const pinDir = join(mountBpffs(t), 'main')
  vethPair(t, 'one', 'two')
  const ifindex = ifindexOf('one')
  let time = 0
  const open = async (ids = 4): Promise<{ readonly dataplane: Dataplane; readonly tables: Tables }> => {
    const shape = shapeFor({ services: 2, backends: ids, slots: 4096, flows: 1024 }, SEED)
    const dataplane = await Dataplane.open({ pinDir, shape, log: silent })
    const tables = createTables(dataplane, { now: () => time })
    if (dataplane.inheritedMode(ifindex) === null) await dataplane.attach(ifindex, 'native')
    else await dataplane.takeOver(ifindex)
    await dataplane.settle()
    return { dataplane, tables }
  }
  /** As if the data plane had forwarded to a backend. */
  const forwarded = (dataplane: Dataplane, last: number, packets: number): void => {
    const id = [1, 2, 3, 4, 5, 6, 7].find(
      one => new Uint8Array(dataplane.memory('backends'))[one * 64 + 32 + 15] === last,
    )!
    const generation = readdirSync(pinDir).find(name => /^\d+$/.test(name))!
    const map = native.BpfMap.openPinned(join(pinDir, generation, 'maps', 'backend_counts'))
    const key = new Uint8Array(Uint32Array.of(id).buffer)
    const words = new BigUint64Array(map.lookup(key).slice().buffer)
    words[0]! += BigInt(packets)
    map.update(key, new Uint8Array(words.buffer))
    map.close()
  }
  const pass = (ms: number): void => {
    time += ms
  }
  return { open, forwarded, pass }
}

const put = (tables: Tables, ...lasts: readonly number[]) => tables.put([{ ...webInTurn(lasts), service }])

const told = async ({ dataplane, tables }: { dataplane: Dataplane; tables: Tables }) => {
  const counts = (await tables.counts()).get(WEB)!
  const verdicts = await dataplane.counts.verdicts()
  return {
    backends: Object.fromEntries(
      [...counts.backends].map(([identity, { tx }]) => [identity, Number(tx.packets)]),
    ),
    service: Number(
      [...counts.backends.values(), counts.retired].map(({ tx }) => tx).reduce(addTraffic).packets,
    ),
    verdict: Number(verdicts.get('TX_DR')!.packets),
  }
}

if (inOwnNamespaces(t, import.meta.url)) {
  t.test('an id that is used again counts from 0, before and after a restart; the totals go on', async t => {
    const { open, forwarded, pass } = openSite(t)
    const first = await open()
    await put(first.tables, 1, 2, 3)
    for (const last of [1, 2, 3]) forwarded(first.dataplane, last, 10 * last)
    t.same(await told(first), {
      backends: { '10.0.0.1:80': 10, '10.0.0.2:80': 20, '10.0.0.3:80': 30 },
      service: 60,
      verdict: 60,
    })
    await put(first.tables, 1, 3)
    const without2 = { backends: { '10.0.0.1:80': 10, '10.0.0.3:80': 30 }, service: 60, verdict: 60 }
    t.same(await told(first), without2)
    pass(2000)
    await put(first.tables, 1, 3, 4)
    const with4 = { ...without2, backends: { ...without2.backends, '10.0.0.4:80': 0 } }
    t.same(await told(first), with4, 'with the id of the one that went')
    t.equal(first.dataplane.shape.backends, 4)
    await first.dataplane.release()

    const second = await open()
    t.same(await told(second), with4, 'after a restart')
    forwarded(second.dataplane, 4, 5)
    await put(second.tables, 1)
    await second.dataplane.release()
    const third = await open()
    t.same(await told(third), { backends: { '10.0.0.1:80': 10 }, service: 65, verdict: 65 })

    pass(2000)
    await third.dataplane.reshape({ ...third.dataplane.shape, backends: 64, services: 32 }, () => {})
    const { backends, ...totals } = await told(third)
    t.same([backends, totals], [{ '10.0.0.1:80': 10 }, { service: 65, verdict: 65 }], 'in larger maps')

    third.tables.remove([WEB])
    pass(2000)
    await put(third.tables, 9)
    t.same(await told(third), { backends: { '10.0.0.9:80': 0 }, service: 0, verdict: 65 }, 'another service')
    await third.dataplane.close()
  })
} else if (skip) {
  t.test('counts', { skip }, async () => {})
}
