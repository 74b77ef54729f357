import assert from 'node:assert'
import t from 'tap'
import { loadSample, native, openSample, sampleElf, skip, u32 } from '../fixtures/native.js'

t.test('an object that is no ELF file is refused', t => {
  for (const bytes of [new Uint8Array(0), new Uint8Array(100), sampleElf.subarray(0, 200)])
    t.throws(() => new native.BpfObject(bytes), { code: 'EINVAL', syscall: 'bpf_object__open_mem' })
  t.throws(() => new native.BpfObject('elf' as never), { name: 'TypeError' })
  t.throws(() => new native.BpfObject(new Uint16Array(100) as never), { name: 'TypeError' })
  t.end()
})

t.test('the embedded object is the data plane', t => {
  const object = new native.BpfObject(native.embeddedObject)
  t.same(object.programNames, ['balance', 'read_jiffies'])
  object.close()
  t.end()
})

t.test('maps and programs are listed before load', t => {
  const object = openSample(t)
  t.same([...object.mapNames].sort(), [
    'linimo.bss',
    'linimo.rodata',
    'pairs',
    'per_cpu',
    'plain_array',
    'ports',
    'shared_array',
  ])
  t.same(object.programNames, ['sample', 'refused'])
  t.end()
})

t.test('a data section is read and written by its name, to the byte', t => {
  const object = openSample(t)
  t.same(object.initialValue('.rodata'), u32(2, 0))
  object.setInitialValue('.rodata', u32(1, 7))
  t.same(object.initialValue('.rodata'), u32(1, 7))
  t.throws(() => object.setInitialValue('.rodata', new Uint8Array(7)), { name: 'RangeError' })
  t.throws(() => object.setInitialValue('.rodata', new Uint8Array(9)), { name: 'RangeError' })
  t.throws(() => object.setInitialValue('.rodata', [1] as never), { name: 'TypeError' })
  t.throws(() => object.initialValue('.data'), { code: 'ENOENT' })
  t.throws(() => object.initialValue('pairs'), { code: 'EINVAL' }, 'a map, but no data section')
  t.end()
})

t.test('wrong names and arguments are refused', t => {
  const object = openSample(t)
  t.throws(() => object.setMaxEntries('nothing', 5), { code: 'ENOENT', errno: 2 })
  t.throws(() => object.setMaxEntries('pairs', 0), { name: 'RangeError' })
  t.throws(() => object.setMaxEntries('pairs', 1.5), { name: 'RangeError' })
  t.throws(() => object.setMaxEntries('pairs', 2 ** 32), { name: 'RangeError' })
  t.throws(() => object.setMaxEntries('pairs', '5' as never), { name: 'TypeError' })
  t.throws(() => object.setAutoload('nothing', true), { code: 'ENOENT' })
  t.throws(() => object.setAutoload('sample', 1 as never), { name: 'TypeError' })
  t.throws(() => object.map(3 as never), { name: 'TypeError' })
  t.throws(() => object.map('pairs\0'), { name: 'RangeError' })
  t.throws(() => object.reuseMap('pairs', {} as never), { name: 'TypeError' })
  t.throws(() => new (native.BpfMap as unknown as new () => unknown)(), { name: 'TypeError' })
  t.end()
})

t.test('a map or program exists after load only', { skip }, async t => {
  const object = openSample(t)
  t.throws(() => object.map('pairs'), { code: 'EINVAL' })
  t.throws(() => object.program('sample'), { code: 'EINVAL' })
  await object.load()
  t.equal(object.map('pairs').info.name, 'pairs')
  t.equal(object.map('.bss').info.valueSize, 4)
  t.match(object.program('sample').info, { name: 'sample', type: 6, tag: /^[0-9a-f]{16}$/ })
  t.ok(object.program('sample').info.xlatedSize > 100)
  t.throws(() => object.program('refused'), { code: 'EINVAL' }, 'left out of the load')
  t.throws(() => object.map('nothing'), { code: 'ENOENT' })
  await t.rejects(object.load(), { code: 'EINVAL' }, 'a second load')
  t.throws(() => object.setMaxEntries('pairs', 5), { code: 'EBUSY' })
  t.throws(() => object.setInitialValue('.rodata', u32(1, 1)), {
    code: 'EINVAL',
    syscall: 'bpf_map__set_initial_value',
  })
})

t.test('a changed size is the map’s', { skip }, async t => {
  const object = openSample(t)
  object.setMaxEntries('shared_array', 77)
  await object.load()
  t.equal(object.map('shared_array').info.maxEntries, 77)
})

t.test('a program that the verifier refuses leaves its log in the error', { skip }, async t => {
  const object = openSample(t)
  object.setAutoload('refused', true)
  const error = await object.load().then(
    () => assert.fail('loaded'),
    (error: NodeJS.ErrnoException & { readonly log: string }) => error,
  )
  t.match(error, { code: 'EACCES', errno: 13, syscall: 'bpf_object__load' })
  t.match(error.message, /'refused'/)
  t.match(error.log, /invalid access to packet/)
  t.notMatch(error.message, /invalid access to packet/)
  t.ok(error.log.split('\n').length <= 20)
  t.throws(() => object.map('pairs'), { code: 'EINVAL' })
})

t.test('two objects share a map', { skip }, async t => {
  const first = await loadSample(t)
  const object = openSample(t)
  object.reuseMap('pairs', first.map('pairs'))
  t.throws(() => object.reuseMap('pairs', first.map('per_cpu')), { code: 'EINVAL' }, 'of other sizes')
  t.throws(() => object.reuseMap('pairs', first.program as never), { name: 'TypeError' })
  await object.load()
  t.equal(object.map('pairs').info.id, first.map('pairs').info.id)
  t.not(object.map('per_cpu').info.id, first.map('per_cpu').info.id)
})

t.test('while it loads an object can be closed, but not used', { skip }, async t => {
  const object = openSample(t)
  const loading = object.load()
  t.throws(() => object.mapNames, { code: 'EBUSY' })
  await t.rejects(object.load(), { code: 'EBUSY' })
  object.close()
  t.throws(() => object.mapNames, { code: 'EBADF' })
  await loading
  t.throws(() => object.map('pairs'), { code: 'EBADF' })
})

t.test('closing twice is fine; maps and programs outlive their object', { skip }, async t => {
  const { object, map, program } = await loadSample(t)
  const array = map('plain_array')
  object.close()
  object.close()
  t.throws(() => object.map('plain_array'), { code: 'EBADF', errno: 9 })
  await t.rejects(object.load(), { code: 'EBADF' })
  t.equal(array.info.maxEntries, 4)
  t.equal(program.testRunSync({ data: new Uint8Array(64) }).returnValue, 2)
})
