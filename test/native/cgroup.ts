import { rmdirSync } from 'node:fs'
import t from 'tap'
import type { BpfProgram } from '../../src/native.js'
import { loadSample, native, skip, type Teardown } from '../fixtures/native.js'
import { openCgroup } from '../fixtures/own-cgroup.js'

const { attachCgroup, detachCgroup, queryCgroup } = native

/** The embedded programs, loaded twice at will: none is attached. */
const loadSockops = async (t: Teardown): Promise<BpfProgram> => {
  const object = new native.BpfObject(native.embeddedToa)
  t.teardown(() => object.close())
  await object.load()
  return object.program('linimo_toa')
}

t.test(
  'a program is attached, seen, and detached; it stays when the descriptor is closed',
  { skip },
  async t => {
    const cgroup = openCgroup(t)
    const program = await loadSockops(t)
    const { id } = program.info
    t.same(queryCgroup(cgroup, 'sockops'), [])
    await attachCgroup(program, cgroup, 'sockops')
    t.same(queryCgroup(cgroup, 'sockops'), [id])
    t.same(queryCgroup(cgroup, 'getpeername4'), [], 'each hook has its own')
    program.close()
    t.same(queryCgroup(cgroup, 'sockops'), [id])
    const again = native.BpfProgram.openById(id)
    await detachCgroup(cgroup, 'sockops', again)
    t.same(queryCgroup(cgroup, 'sockops'), [])
    await t.rejects(detachCgroup(cgroup, 'sockops', again), { code: 'ENOENT', syscall: 'bpf_prog_detach2' })
    again.close()
  },
)

t.test('several stand beside each other, and one takes the place of another', { skip }, async t => {
  const cgroup = openCgroup(t)
  const [one, two, three] = [await loadSockops(t), await loadSockops(t), await loadSockops(t)]
  await attachCgroup(one, cgroup, 'sockops')
  await attachCgroup(two, cgroup, 'sockops')
  t.same(queryCgroup(cgroup, 'sockops'), [one.info.id, two.info.id])
  await attachCgroup(three, cgroup, 'sockops', one)
  t.same(queryCgroup(cgroup, 'sockops'), [three.info.id, two.info.id])
  await t.rejects(attachCgroup(one, cgroup, 'sockops', one), { code: 'ENOENT', syscall: 'bpf_prog_attach' })
  await t.rejects(attachCgroup(two, cgroup, 'sockops'), { code: 'EINVAL' }, 'one is there once')
  await detachCgroup(cgroup, 'sockops', two)
  t.same(queryCgroup(cgroup, 'sockops'), [three.info.id])
})

t.test('what goes there is checked', { skip }, async t => {
  const cgroup = openCgroup(t)
  const program = await loadSockops(t)
  const sample = (await loadSample(t)).program
  await t.rejects(attachCgroup(sample, cgroup, 'sockops'), { code: 'EINVAL', syscall: 'bpf_prog_attach' })
  await t.rejects(attachCgroup(program, cgroup, 'getpeername4'), { code: 'EINVAL' })
  await t.rejects(attachCgroup(program, '/proc', 'sockops'), { code: 'EBADF' })
  await t.rejects(attachCgroup(program, '/no/such', 'sockops'), { code: 'ENOENT', syscall: 'open' })
  t.throws(() => queryCgroup('/proc', 'sockops'), { code: 'EBADF', syscall: 'bpf_prog_query' })
  t.throws(() => queryCgroup('/no/such', 'sockops'), { code: 'ENOENT', syscall: 'open' })
  t.throws(() => queryCgroup(cgroup, 'connect' as 'sockops'), RangeError)
  await t.rejects(attachCgroup({} as BpfProgram, cgroup, 'sockops'), TypeError)
  await t.rejects(attachCgroup(program, cgroup, 'sockops', {} as BpfProgram), TypeError)
  await t.rejects(detachCgroup(cgroup, 'sockops', {} as BpfProgram), TypeError)
  program.close()
  await t.rejects(attachCgroup(program, cgroup, 'sockops'), { code: 'EBADF' })
  t.same(queryCgroup(cgroup, 'sockops'), [])
})

t.test('what is attached does not keep a cgroup', { skip }, async t => {
  const cgroup = openCgroup(t)
  await attachCgroup(await loadSockops(t), cgroup, 'sockops')
  rmdirSync(cgroup)
  t.throws(() => queryCgroup(cgroup, 'sockops'), { code: 'ENOENT' })
})
