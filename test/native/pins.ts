import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ifindexOf, mountBpffs, vethPair } from '../fixtures/host.js'
import { inOwnNamespaces, loadSample, native, skip, u32, u64 } from '../fixtures/native.js'

const { BpfMap, BpfProgram, XdpLink, queryXdp } = native

if (inOwnNamespaces(t, import.meta.url)) {
  t.test('a pinned map or program is opened by its path', async t => {
    const directory = mountBpffs(t)
    const { map, program } = await loadSample(t)
    const [mapPath, programPath] = [join(directory, 'map'), join(directory, 'program')]
    const array = map('plain_array')
    array.pin(mapPath)
    program.pin(programPath)
    array.update(u32(1), u64(77))
    const [again, programAgain] = [BpfMap.openPinned(mapPath), BpfProgram.openPinned(programPath)]
    t.same(again.info, array.info)
    t.same(again.lookup(u32(1)), u64(77))
    t.same(programAgain.info, program.info)
    t.throws(() => array.pin(mapPath), { code: 'EEXIST', syscall: 'bpf_obj_pin' })
    again.unpin(mapPath)
    t.notOk(existsSync(mapPath))
    t.throws(() => again.unpin(mapPath), { code: 'ENOENT' })
    program.unpin(programPath)
    again.close()
    programAgain.close()
  })

  t.test('a pinned link keeps its program attached after close', async t => {
    const path = join(mountBpffs(t), 'link')
    vethPair(t, 'one', 'two')
    const { program } = await loadSample(t)
    const link = await XdpLink.attach(program, ifindexOf('one'), 'native')
    const { id } = link.info
    link.pin(path)
    await link.close()
    t.equal(queryXdp(ifindexOf('one')).programId, program.info.id)
    const again = XdpLink.openPinned(path)
    t.equal(again.info.id, id)
    again.unpin(path)
    t.equal(queryXdp(ifindexOf('one')).programId, program.info.id, 'still open here')
    await again.close()
    t.equal(queryXdp(ifindexOf('one')).programId, 0)
  })

  t.test('a pin of another kind, and a missing one, are refused', async t => {
    const directory = mountBpffs(t)
    const { map, program } = await loadSample(t)
    map('pairs').pin(join(directory, 'map'))
    program.pin(join(directory, 'program'))
    const wrong = { code: 'EINVAL', syscall: 'bpf_obj_get' }
    t.throws(() => BpfProgram.openPinned(join(directory, 'map')), wrong)
    t.throws(() => XdpLink.openPinned(join(directory, 'map')), wrong)
    t.throws(() => BpfMap.openPinned(join(directory, 'program')), wrong)
    for (const kind of [BpfMap, BpfProgram, XdpLink]) {
      t.throws(() => kind.openPinned(join(directory, 'none')), { code: 'ENOENT', errno: 2 })
      t.throws(() => kind.openPinned('/etc/passwd'), { code: 'EACCES', syscall: 'bpf_obj_get' })
      t.throws(() => kind.openPinned(5 as never), { name: 'TypeError' })
    }
    map('pairs').unpin(join(directory, 'map'))
    program.unpin(join(directory, 'program'))
  })

  t.test('only files on bpffs are pins', async t => {
    const { map } = await loadSample(t)
    const path = new URL(import.meta.url).pathname
    t.throws(() => map('pairs').unpin(path), { code: 'EINVAL' })
    t.ok(existsSync(path))
    t.throws(() => map('pairs').pin('/tmp/linimo-no-bpffs'), { code: 'EPERM' })
    t.throws(() => map('pairs').pin('/nowhere/at/all'), { code: 'ENOENT' })
    t.throws(() => map('pairs').pin('/tmp/a\0b'), { name: 'RangeError' })
  })
} else if (skip) {
  t.test('pins', { skip }, async () => {})
}
