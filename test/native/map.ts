import t from 'tap'
import { loadSample, native, readU32, skip, u32, u64 } from '../fixtures/native.js'

const pair = (first: number, second = 0): Uint8Array => u32(first, second)

t.test('an entry is written, read, listed and deleted', { skip }, async t => {
  const pairs = (await loadSample(t)).map('pairs')
  t.match(pairs.info, { name: 'pairs', type: 1, keySize: 8, valueSize: 8, maxEntries: 1024, flags: 0 })
  t.throws(() => pairs.lookup(pair(1)), { code: 'ENOENT', errno: 2, syscall: 'bpf_map_lookup_elem' })
  t.equal(pairs.nextKey(), null)
  pairs.update(pair(1), u64(11))
  pairs.update(pair(1), u64(12))
  t.same(pairs.lookup(pair(1)), u64(12))
  t.throws(() => pairs.update(pair(1), u64(13), 1), { code: 'EEXIST', syscall: 'bpf_map_update_elem' })
  t.throws(() => pairs.update(pair(2), u64(13), 2), { code: 'ENOENT' })
  t.same(pairs.nextKey(), pair(1))
  t.equal(pairs.nextKey(pair(1)), null)
  pairs.delete(pair(1))
  t.throws(() => pairs.delete(pair(1)), { code: 'ENOENT', syscall: 'bpf_map_delete_elem' })
})

t.test('keys and values have exactly the bytes of the map', { skip }, async t => {
  const { map, program } = await loadSample(t)
  const pairs = map('pairs')
  for (const wrong of [new Uint8Array(0), new Uint8Array(7), new Uint8Array(9)]) {
    t.throws(() => pairs.lookup(wrong), { name: 'RangeError' })
    t.throws(() => pairs.delete(wrong), { name: 'RangeError' })
    t.throws(() => pairs.nextKey(wrong), { name: 'RangeError' })
    t.throws(() => pairs.update(wrong, u64(1)), { name: 'RangeError' })
    t.throws(() => pairs.update(pair(1), wrong), { name: 'RangeError' })
  }
  for (const wrong of [8, null, '12345678', [1], new DataView(new ArrayBuffer(8)), new Uint32Array(2)]) {
    t.throws(() => pairs.lookup(wrong as never), { name: 'TypeError' })
    t.throws(() => pairs.update(pair(1), wrong as never), { name: 'TypeError' })
  }
  t.throws(() => pairs.update(pair(1), u64(1), -1), { name: 'RangeError' })
  t.throws(() => pairs.update(pair(1), u64(1), 'x' as never), { name: 'TypeError' })
  t.throws(() => native.BpfMap.prototype.lookup.call(program as never, pair(1)), { name: 'TypeError' })
  t.equal(pairs.nextKey(), null, 'nothing was written')
})

t.test('a view into a larger buffer is taken where it begins', { skip }, async t => {
  const pairs = (await loadSample(t)).map('pairs')
  const bytes = Uint8Array.from([9, 9, 9, ...pair(5), ...u64(55), 9])
  pairs.update(bytes.subarray(3, 11), Buffer.from(bytes.buffer, 11, 8))
  t.same(pairs.lookup(pair(5)), u64(55))
})

t.test('a value of a per-CPU map is one for each possible CPU, each padded to 8 bytes', { skip }, async t => {
  const map = (await loadSample(t)).map('per_cpu')
  t.equal(map.info.valueSize, 12)
  t.equal(map.lookupSize, 16 * native.possibleCpus)
  const value = new Uint8Array(map.lookupSize).map((_, i) => (i % 16 < 12 ? i : 0))
  map.update(u32(3), value)
  t.same(map.lookup(u32(3)), value)
  t.throws(() => map.update(u32(3), new Uint8Array(12)), { name: 'RangeError' })
})

t.test('all entries of a hash map larger than a batch are read and written at once', { skip }, async t => {
  const { object } = await loadSample(t)
  object.close()
  const big = new native.BpfObject((await import('../fixtures/native.js')).sampleElf)
  t.teardown(() => big.close())
  big.setMaxEntries('pairs', 20_000)
  await big.load()
  const pairs = big.map('pairs')
  const numbers = Array.from({ length: 15_000 }, (_, i) => i)
  await pairs.updateBatch(
    Uint8Array.from(numbers.flatMap(i => [...pair(i)])),
    Uint8Array.from(numbers.flatMap(i => [...u64(i * 3)])),
  )
  const { count, keys, values } = await pairs.lookupBatch()
  t.equal(count, 15_000)
  t.equal(keys.length, count * 8)
  t.equal(values.length, count * 8)
  const seen = new Set<number>()
  for (let i = 0; i < count; i++) {
    const key = readU32(keys, i * 8)
    seen.add(key)
    if (readU32(values, i * 8) !== key * 3) t.fail(`value of ${key}`)
  }
  t.equal(seen.size, 15_000)
})

t.test('arrays, per-CPU arrays and empty maps are read by batches', { skip }, async t => {
  const { map } = await loadSample(t)
  map('plain_array').update(u32(3), u64(33))
  t.same(await map('plain_array').lookupBatch(), {
    count: 4,
    keys: u32(0, 1, 2, 3),
    values: u64(0, 0, 0, 33),
  })
  t.same(await map('plain_array').lookupBatch(2), { count: 2, keys: u32(2, 3), values: u64(0, 33) })
  t.same(await map('plain_array').lookupBatch(1, 2), { count: 2, keys: u32(1, 2), values: u64(0, 0) })
  t.same(await map('plain_array').lookupBatch(3, 9), { count: 1, keys: u32(3), values: u64(33) })
  t.same(await map('plain_array').lookupBatch(undefined, 1), { count: 1, keys: u32(0), values: u64(0) })
  await t.rejects(map('plain_array').lookupBatch(4), RangeError)
  await t.rejects(map('plain_array').lookupBatch(0, 0), RangeError)
  await t.rejects(map('pairs').lookupBatch(0, 1), TypeError)
  const perCpu = await map('per_cpu').lookupBatch()
  t.equal(perCpu.count, 8)
  t.equal(perCpu.values.length, 8 * map('per_cpu').lookupSize)
  t.same(await map('pairs').lookupBatch(), { count: 0, keys: new Uint8Array(0), values: new Uint8Array(0) })
  await map('pairs').updateBatch(new Uint8Array(0), new Uint8Array(0))
})

t.test('a batch whose keys and values do not match is refused', { skip }, async t => {
  const pairs = (await loadSample(t)).map('pairs')
  await t.rejects(pairs.updateBatch(new Uint8Array(12), new Uint8Array(8)), { name: 'RangeError' })
  await t.rejects(pairs.updateBatch(new Uint8Array(16), new Uint8Array(8)), { name: 'RangeError' })
  await t.rejects(pairs.updateBatch(1 as never, new Uint8Array(8)), { name: 'TypeError' })
  await t.rejects(pairs.updateBatch(new Uint8Array(8), undefined as never), { name: 'TypeError' })
  const tooMany = new Uint8Array(2000 * 8).map((_, i) => (i * 7) ^ (i >> 8))
  await t.rejects(pairs.updateBatch(tooMany, new Uint8Array(2000 * 8)), {
    code: 'E2BIG',
    syscall: 'bpf_map_update_batch',
  })
})

t.test('a batch goes on when its map is closed meanwhile', { skip }, async t => {
  const { map, object } = await loadSample(t)
  const array = map('plain_array')
  const reading = array.lookupBatch()
  array.close()
  object.close()
  t.equal((await reading).count, 4)
})

t.test('the mapping of an array is the memory that the program sees', { skip }, async t => {
  const { map, program } = await loadSample(t)
  const shared = map('shared_array')
  const memory = await shared.mmap()
  t.equal(memory.byteLength, 16 * 1000, 'twelve bytes are padded to sixteen')
  const words = new Uint32Array(memory)
  words[7 * 4] = 41
  program.testRunSync({ data: new Uint8Array(64) })
  t.equal(words[7 * 4 + 1], 42)
  t.same(shared.lookup(u32(7)), u32(41, 42, 1))
  words[999 * 4] = 5
  t.equal(readU32(shared.lookup(u32(999))), 5)
  shared.close()
  program.testRunSync({ data: new Uint8Array(64) })
  t.equal(words[7 * 4 + 1], 42, 'it outlives the map')
})

t.test('two mappings show the same memory; global variables can be mapped too', { skip }, async t => {
  const { map, program } = await loadSample(t)
  const [one, other] = [new Uint32Array(await map('.bss').mmap()), new Uint32Array(await map('.bss').mmap())]
  program.testRunSync({ data: new Uint8Array(64), repeat: 5 })
  t.equal(one[0], 5)
  t.equal(other[0], 5)
})

t.test('a map without BPF_F_MMAPABLE, or a frozen one, cannot be mapped', { skip }, async t => {
  const { map } = await loadSample(t)
  await t.rejects(map('plain_array').mmap(), { code: 'EINVAL', syscall: 'mmap' })
  await t.rejects(map('pairs').mmap(), { code: 'ENOTSUPP', errno: 524, syscall: 'mmap' })
  await t.rejects(map('.rodata').mmap(), { code: 'EPERM' })
})

t.test('closing twice is fine; every call after it fails with EBADF', { skip }, async t => {
  const map = (await loadSample(t)).map('shared_array')
  map.close()
  map.close()
  const closed = { code: 'EBADF', errno: 9 }
  t.throws(() => map.info, closed)
  t.throws(() => map.lookup(u32(0)), closed)
  t.throws(() => map.update(u32(0), u32(1, 2, 3)), closed)
  t.throws(() => map.delete(u32(0)), closed)
  t.throws(() => map.nextKey(), closed)
  await t.rejects(map.mmap(), closed)
  t.throws(() => map.pin('/nowhere'), closed)
  t.throws(() => map.unpin('/nowhere'), closed)
  await t.rejects(map.lookupBatch(), closed)
  await t.rejects(map.updateBatch(u32(0), u32(1, 2, 3)), closed)
})
