import t from 'tap'
import { ifindexOf, otherNamespace, run, until, vethPair } from '../fixtures/host.js'
import { inOwnNamespaces, loadSample, native, readU32, skip, u32 } from '../fixtures/native.js'

const { XdpLink, queryXdp } = native

if (inOwnNamespaces(t, import.meta.url)) {
  for (const mode of ['native', 'generic'] as const)
    t.test(`a program attached in ${mode} mode is seen, and gone after close`, async t => {
      vethPair(t, 'one', 'two')
      const ifindex = ifindexOf('one')
      const { program } = await loadSample(t)
      t.same(queryXdp(ifindex), { programId: 0, mode: null })
      const link = await XdpLink.attach(program, ifindex, mode)
      t.same(queryXdp(ifindex), { programId: program.info.id, mode })
      t.match(link.info, { programId: program.info.id, ifindex })
      t.ok(link.info.id > 0)
      await link.close()
      t.same(queryXdp(ifindex), { programId: 0, mode: null })
    })

  t.test('an interface takes one program', async t => {
    vethPair(t, 'one', 'two')
    const ifindex = ifindexOf('one')
    const { program } = await loadSample(t)
    const link = await XdpLink.attach(program, ifindex, 'native')
    for (const mode of ['native', 'generic'] as const)
      await t.rejects(XdpLink.attach(program, ifindex, mode), {
        syscall: 'bpf_link_create',
        code: /^E(BUSY|EXIST)$/,
      })
    await t.rejects(XdpLink.attach(program, ifindex, 'native'), { code: 'EBUSY', errno: 16 })
    await link.close()
    await (await XdpLink.attach(program, ifindex, 'generic')).close()
  })

  t.test('a program is replaced, and only the expected one where that is asked for', async t => {
    vethPair(t, 'one', 'two')
    const ifindex = ifindexOf('one')
    const [first, second] = [(await loadSample(t)).program, (await loadSample(t)).program]
    const link = await XdpLink.attach(first, ifindex, 'native')
    await link.update(second)
    t.equal(queryXdp(ifindex).programId, second.info.id)
    await t.rejects(link.update(first, first), { code: 'EPERM', syscall: 'bpf_link_update' })
    await link.update(first, second)
    t.equal(link.info.programId, first.info.id)
    await link.close()
  })

  t.test('detach takes the program away though the link stays open', async t => {
    vethPair(t, 'one', 'two')
    const { program } = await loadSample(t)
    const link = await XdpLink.attach(program, ifindexOf('one'), 'native')
    await link.detach()
    t.equal(queryXdp(ifindexOf('one')).programId, 0)
    t.equal(link.info.ifindex, 0)
    await link.close()
  })

  t.test('an interface that does not exist, or has no native mode, is an error', async t => {
    const { program } = await loadSample(t)
    await t.rejects(XdpLink.attach(program, 0x7ffffff0, 'native'), { code: 'EINVAL' })
    await t.rejects(XdpLink.attach(program, 1, 'native'), { code: 'EOPNOTSUPP' }, 'loopback')
    t.throws(() => queryXdp(0x7ffffff0), { code: 'ENODEV' })
  })

  t.test('wrong arguments are refused', async t => {
    const { program, map } = await loadSample(t)
    await t.rejects(XdpLink.attach({} as never, 1, 'native'), { name: 'TypeError' })
    await t.rejects(XdpLink.attach(map('pairs') as never, 1, 'native'), { name: 'TypeError' })
    await t.rejects(XdpLink.attach(program, 0, 'native'), { name: 'RangeError' })
    await t.rejects(XdpLink.attach(program, -1, 'native'), { name: 'RangeError' })
    await t.rejects(XdpLink.attach(program, 'lo' as never, 'native'), { name: 'TypeError' })
    await t.rejects(XdpLink.attach(program, 1, 'driver' as never), { name: 'RangeError' })
    await t.rejects(XdpLink.attach(program, 1, undefined as never), { name: 'TypeError' })
    t.throws(() => queryXdp('lo' as never), { name: 'TypeError' })
    program.close()
    await t.rejects(XdpLink.attach(program, 1, 'native'), { code: 'EBADF' })
  })

  t.test('closing twice is fine; every call after it fails with EBADF', async t => {
    vethPair(t, 'one', 'two')
    const { program } = await loadSample(t)
    const link = await XdpLink.attach(program, ifindexOf('one'), 'native')
    const updating = link.update(program)
    await Promise.all([link.close(), link.close()])
    await updating
    await link.close()
    t.throws(() => link.info, { code: 'EBADF' })
    t.throws(() => link.pin('/nowhere'), { code: 'EBADF' })
    await t.rejects(link.update(program), { code: 'EBADF' })
    await t.rejects(link.detach(), { code: 'EBADF' })
    await until('the program leaves', () => queryXdp(ifindexOf('one')).programId === 0)
  })

  t.test('live frames leave by the interface that their context names', async t => {
    vethPair(t, 'one', 'two')
    const sender = await loadSample(t, 3) // XDP_TX
    const receiver = await loadSample(t, 1) // XDP_DROP; native, so that the peer takes frames
    const links = [
      await XdpLink.attach(sender.program, ifindexOf('one'), 'native'),
      await XdpLink.attach(receiver.program, ifindexOf('two'), 'native'),
    ]
    // A unicast frame of the local experimental EtherType; nothing of the host's own is counted twice by it.
    const data = new Uint8Array(64)
    data.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5])
    const count = receiver.map('.bss')
    const before = readU32(count.lookup(u32(0)))
    const context = u32(0, data.length, 0, ifindexOf('one'), 0, 0)
    const result = await sender.program.testRun({
      data,
      context,
      repeat: 128,
      liveFrames: true,
      batchSize: 64,
    })
    t.equal(result.data, undefined)
    t.ok(result.cpuNs > 0)
    await until('all frames arrive', () => readU32(count.lookup(u32(0))) - before >= 128)
    for (const link of links) await link.close()
  })

  t.test('a link goes with its interface', async t => {
    const other = await otherNamespace(t)
    run('ip link add one type veth peer name two')
    run(`ip link set two netns ${other.pid}`)
    const { program } = await loadSample(t)
    const link = await XdpLink.attach(program, ifindexOf('one'), 'native')
    run('ip link delete one')
    t.equal(link.info.ifindex, 0)
    await t.rejects(link.update(program), { code: 'ENOLINK' })
    await link.close()
  })
} else if (skip) {
  t.test('links', { skip }, async () => {})
}
