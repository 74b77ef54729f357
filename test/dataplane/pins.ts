import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Dataplane, shapeFor } from '../../src/dataplane/dataplane.js'
import type { Log } from '../../src/log.js'
import { ifindexOf, mountBpffs, vethPair } from '../fixtures/host.js'
import { inOwnNamespaces, native, skip } from '../fixtures/native.js'

const SEED = '000102030405060708090a0b0c0d0e0f'
const limits = { services: 16, backends: 16, slots: 4096, flows: 1024 }
const silent: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** Some frame: what is no service's is counted as such. */
const ARP = new Uint8Array(64)

const passed = async (dataplane: Dataplane): Promise<number> => {
  const counts = await dataplane.counts.verdicts()
  return Number(counts.get('PASS_NOT_IP')?.packets)
}
const generations = (pinDir: string): string[] => readdirSync(pinDir).filter(name => /^\d+$/.test(name))

if (inOwnNamespaces(t, import.meta.url)) {
  t.test('what is pinned is gone on with: shape, tables, places of interfaces, counters', async t => {
    const pinDir = join(mountBpffs(t), 'linimo', 'main')
    vethPair(t, 'one', 'two')
    const [one, two] = [ifindexOf('one'), ifindexOf('two')]
    const open = (changes: object = {}) =>
      Dataplane.open({ pinDir, shape: shapeFor(limits, SEED, changes), log: silent })

    const first = await open()
    t.notOk(first.isAdopted)
    t.throws(() => readdirSync(pinDir), { code: 'ENOENT' }, 'nothing is pinned before it is attached')
    t.equal(first.outPort(two), 0)
    t.equal(first.outPort(one), 1)
    await first.attach(one, 'native')
    first.run(ARP, one)
    new BigUint64Array(first.memory('slots'))[7] = 77n
    await first.reshape({ ...first.shape, backends: 64, services: 32 }, () => {})
    t.same(generations(pinDir), ['2'], 'only what runs is pinned')
    const { shape, serviceSeed } = first
    await first.release()
    t.not(native.queryXdp(one).programId, 0)

    const second = await open({ anyPort: true, seed: 'f'.repeat(32) })
    t.ok(second.isAdopted)
    t.same(second.shape, { ...shape, anyPort: true, flows: limits.flows })
    t.equal(second.serviceSeed, serviceSeed, 'the service table stays as it is laid out')
    t.equal(new BigUint64Array(second.memory('slots'))[7], 77n)
    t.same([second.outPort(one), second.outPort(two)], [1, 0])
    t.equal(second.inheritedMode(one), 'native')
    t.equal(second.inheritedMode(two), null)
    await second.takeOver(one)
    await second.settle()
    second.run(ARP, one)
    t.equal(await passed(second), 2)
    t.same(generations(pinDir), ['3'], 'another program, for it takes every port')
    t.equal(native.queryXdp(one).mode, 'native')
    await second.release()

    const third = await open({ anyPort: true })
    t.same(generations(pinDir), ['3'], 'the same program')
    await third.settle()
    t.equal(native.queryXdp(one).programId, 0, 'an interface that nobody asked for is left')
    await third.close()
    t.throws(() => readdirSync(pinDir), { code: 'ENOENT' })
  })

  t.test('what counted in maps that were replaced counts on', async t => {
    const pinDir = join(mountBpffs(t), 'main')
    vethPair(t, 'one', 'two')
    const one = ifindexOf('one')
    const open = () => Dataplane.open({ pinDir, shape: shapeFor(limits, SEED), log: silent })
    const cpus = native.possibleCpus
    const counted = (id: number) => {
      const path = join(pinDir, generations(pinDir)[0]!, 'maps', 'backend_counts')
      const map = native.BpfMap.openPinned(path)
      const key = new Uint8Array(Uint32Array.of(id).buffer)
      const words = new BigUint64Array(map.lookup(key).slice().buffer)
      words[0]! += 5n
      map.update(key, new Uint8Array(words.buffer))
      map.close()
    }
    const first = await open()
    await first.attach(one, 'native')
    counted(3)
    for (const backends of [32, 64]) {
      await first.reshape({ ...first.shape, backends }, () => {})
      counted(3)
    }
    counted(40)
    t.equal(first.counts.backend(3).tx.packets, 15n, `on ${cpus} CPUs`)
    await first.release()
    const second = await open()
    t.equal(second.counts.backend(3).tx.packets, 15n)
    t.equal(second.counts.backend(40).tx.packets, 5n)
    t.equal((await second.counts.backends()).get(3)?.tx.packets, 15n)
    await second.close()
  })

  t.test('an open that is given up leaves what was there, and nothing where nothing was', async t => {
    const pinDir = join(mountBpffs(t), 'main')
    vethPair(t, 'one', 'two')
    const one = ifindexOf('one')
    const open = () => Dataplane.open({ pinDir, shape: shapeFor(limits, SEED), log: silent })
    const first = await open()
    await first.attach(one, 'native')
    await first.abandon()
    t.equal(native.queryXdp(one).programId, 0)
    t.throws(() => readdirSync(pinDir), { code: 'ENOENT' })

    const second = await open()
    await second.attach(one, 'native')
    await second.release()
    const { programId } = native.queryXdp(one)
    const third = await open()
    await third.takeOver(one)
    await third.abandon()
    t.equal(native.queryXdp(one).programId, programId)
    const fourth = await open()
    t.ok(fourth.isAdopted)
    await fourth.close()
  })

  t.test('a shape whose tables are not filled is not moved to', async t => {
    const dataplane = await Dataplane.load(shapeFor(limits, SEED))
    t.equal(await dataplane.reshape({ ...dataplane.shape, backends: 64 }, () => false), false)
    t.equal(dataplane.shape.backends, 16)
    t.equal(await dataplane.reshape({ ...dataplane.shape, backends: 64 }, () => true), true)
    t.equal(dataplane.shape.backends, 64)
    await dataplane.close()
  })

  t.test('an interface that is attached while another program is moved to gets that one', async t => {
    vethPair(t, 'one', 'two')
    const [one, two] = [ifindexOf('one'), ifindexOf('two')]
    const dataplane = await Dataplane.load(shapeFor(limits, SEED))
    await dataplane.attach(one, 'native')
    const before = native.queryXdp(one).programId
    let attaching: Promise<void> | null = null
    const isMoved = await dataplane.reshape({ ...dataplane.shape, backends: 64 }, () => {
      attaching = dataplane.attach(two, 'native')
    })
    t.ok(isMoved)
    await attaching
    const after = native.queryXdp(one).programId
    t.not(after, before)
    t.equal(native.queryXdp(two).programId, after)
    await dataplane.close()
  })

  t.test('an interface that is not taken over yet is moved along with those that are', async t => {
    const pinDir = join(mountBpffs(t), 'main')
    vethPair(t, 'one', 'two')
    const [one, two] = [ifindexOf('one'), ifindexOf('two')]
    const open = () => Dataplane.open({ pinDir, shape: shapeFor(limits, SEED), log: silent })
    const first = await open()
    await first.attach(one, 'native')
    await first.attach(two, 'native')
    await first.release()
    const [generation] = generations(pinDir)
    rmSync(join(pinDir, generation!), { recursive: true })

    const second = await open()
    t.notOk(second.isAdopted, 'it begins anew')
    await second.takeOver(one)
    await second.reshape({ ...second.shape, backends: 64 }, () => {})
    t.equal(native.queryXdp(two).programId, native.queryXdp(one).programId)
    await second.close()
  })
} else if (skip) {
  t.test('pins', { skip }, async () => {})
}
