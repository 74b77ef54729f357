import t from 'tap'
import { loadSample, native, readU32, skip, u32 } from '../fixtures/native.js'

const frame = (size = 64): Uint8Array => new Uint8Array(size).map((_, i) => i)

/** struct xdp_md for a frame that comes in by an interface. */
const context = (size: number, ifindex: number): Uint8Array => u32(0, size, 0, ifindex, 0, 0)

t.test('a test run gives the action and the frame afterwards', { skip }, async t => {
  const { program } = await loadSample(t, 3)
  const changed = frame()
  changed[0] = 0x42
  for (const run of [program.testRunSync({ data: frame() }), await program.testRun({ data: frame() })]) {
    t.equal(run.returnValue, 3)
    t.same(run.data, changed)
    t.equal(run.context, undefined)
    t.type(run.durationNs, 'number')
    t.ok(run.cpuNs > 0)
  }
})

t.test('a frame that grew comes back whole', { skip }, async t => {
  const { program } = await loadSample(t, 2, 200)
  for (const size of [14, 64, 1514]) {
    const { data } = program.testRunSync({ data: frame(size) })
    t.equal(data?.length, size + 200)
    t.same(data?.subarray(200), frame(size))
  }
})

t.test('frames of 14 to 3500 bytes are run', { skip }, async t => {
  const { program } = await loadSample(t)
  for (const size of [14, 15, 60, 1514, 3400]) {
    const { data } = program.testRunSync({ data: frame(size) })
    t.equal(data?.length, size)
  }
  for (const size of [0, 1, 13])
    t.throws(() => program.testRunSync({ data: frame(size) }), {
      code: 'EINVAL',
      syscall: 'bpf_prog_test_run_opts',
    })
})

t.test('the context names the interface that the frame came in by', { skip }, async t => {
  const { program, map } = await loadSample(t)
  const run = program.testRunSync({ data: frame(), context: context(64, 1) })
  t.equal(run.returnValue, 2)
  t.same(run.context, context(64, 1))
  t.equal(readU32(map('shared_array').lookup(u32(7)), 8), 1, 'loopback')
  t.throws(() => program.testRunSync({ data: frame(), context: context(65, 1) }), { code: 'EINVAL' })
  t.throws(() => program.testRunSync({ data: frame(), context: context(64, 0x7fffffff) }), { code: 'ENODEV' })
})

t.test('the program runs as often as it is asked to', { skip }, async t => {
  const { program, map } = await loadSample(t)
  await program.testRun({ data: frame(), repeat: 1000 })
  program.testRunSync({ data: frame(), repeat: 7 })
  t.equal(readU32(map('.bss').lookup(u32(0))), 1007)
})

t.test('wrong options are refused', { skip }, async t => {
  const { program } = await loadSample(t)
  const data = frame()
  const wrong: readonly (readonly [object | undefined, string])[] = [
    [undefined, 'TypeError'],
    [{}, 'TypeError'],
    [{ data: 'frame' }, 'TypeError'],
    [{ data, context: new Uint8Array(23) }, 'RangeError'],
    [{ data, context: new Uint8Array(25) }, 'RangeError'],
    [{ data, context: 1 }, 'TypeError'],
    [{ data, repeat: 0 }, 'RangeError'],
    [{ data, repeat: -1 }, 'RangeError'],
    [{ data, repeat: Number.NaN }, 'RangeError'],
    [{ data, repeat: '3' }, 'TypeError'],
    [{ data, batchSize: 0, liveFrames: true }, 'RangeError'],
    [{ data, liveFrames: 1 }, 'TypeError'],
  ]
  for (const [options, name] of wrong) {
    t.throws(() => program.testRunSync(options as never), { name })
    await t.rejects(program.testRun(options as never), { name })
  }
  t.throws(() => program.testRunSync({ data, batchSize: 64 }), { code: 'EINVAL' }, 'without live frames')
})

t.test('a run goes on when its program is closed; calls after it fail', { skip }, async t => {
  const { program, object } = await loadSample(t)
  const running = program.testRun({ data: frame(), repeat: 10_000 })
  object.close()
  program.close()
  program.close()
  t.equal((await running).returnValue, 2)
  const closed = { code: 'EBADF' }
  t.throws(() => program.info, closed)
  t.throws(() => program.testRunSync({ data: frame() }), closed)
  await t.rejects(program.testRun({ data: frame() }), closed)
  t.throws(() => program.pin('/nowhere'), closed)
})

t.test('the same program has the same tag', { skip }, async t => {
  const [one, other] = [await loadSample(t), await loadSample(t)]
  t.equal(one.program.info.tag, other.program.info.tag)
  t.not(one.program.info.id, other.program.info.id)
  t.throws(() => new (native.BpfProgram as unknown as new () => unknown)(), { name: 'TypeError' })
})
