import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { temporaryDirectory } from './control/fixtures/daemon.js'
import { createFakeSite, type FakeSite, type FakeSiteOptions } from './fixtures/balancer.js'

const PEER = { pid: 4242, uid: 1000, gid: 100 }
const WEB = '192.0.2.10:80/tcp'
const b = (host: number, more: object = {}) => ({ name: `b${host}`, address: `10.0.0.${host}`, ...more })
const fileOf = (backends: readonly object[], changes: object = {}): string =>
  JSON.stringify({
    interfaces: ['eth0'],
    services: {
      web: {
        vip: '192.0.2.10',
        port: 80,
        'ring-size': 1021,
        tracking: 'on-change',
        health: { type: 'tcp' },
        backends,
        ...changes,
      },
    },
  })

const open = (t: Test, file: string, options: Partial<FakeSiteOptions> = {}): Promise<FakeSite> =>
  createFakeSite(t, { file, stateDir: temporaryDirectory(t), ...options })

/** What the tables know of a backend: its flags and how many slots it owns. */
const inTables = ({ put }: FakeSite, host: number) => {
  const wanted = put.get(WEB)!
  const i = wanted.backends.findIndex(({ address }) => address === `10.0.0.${host}`)
  if (i < 0) return null
  const { isDead, isDraining } = wanted.backends[i]!
  return { isDead, isDraining, slots: wanted.owners.filter(owner => owner === i).length }
}
const busy = (live: number, isExact = false) => ({ live, isExact, sweepBeganMs: 0 })
const show = ({ handlers }: FakeSite, backend: string) =>
  handlers['backend.show']({ service: 'web', backend }, PEER)

t.test('a drain: no slots, alive; counted down; out by the deadline', async t => {
  const site = await open(t, fileOf([b(1), b(2), b(3)]))
  const drain = site.handlers['backend.drain']
  site.flows.set('10.0.0.2:80', busy(7))
  const row = await drain({ service: 'web', backend: 'b2', deadline: 60 }, PEER)
  t.match(row, {
    state: 'draining',
    slots: 0,
    flows: 7,
    flowsAtLeast: true,
    reason: 'draining',
    drain: { isOut: false, remaining: 60, deadline: /^20\d\d-/ },
  })
  t.same(inTables(site, 2), { isDead: false, isDraining: true, slots: 0 })
  await site.pass(20)
  t.match(await show(site, 'b2'), { drain: { isOut: false, remaining: 40 } })
  await site.pass(40)
  t.match(await show(site, 'b2'), { state: 'draining', reason: 'drained', drain: { isOut: true } })
  t.same(inTables(site, 2), { isDead: true, isDraining: true, slots: 0 })
  t.match(site.events.at(-1), { kind: 'admin', backend: 'b2', isOut: true, reason: 'its deadline has come' })

  t.match(await site.handlers['backend.undrain']({ service: 'web', backend: 'b2' }, PEER), {
    state: 'enabled',
    drain: null,
  })
  t.match(inTables(site, 2), { isDead: false, isDraining: false })
  t.ok(inTables(site, 2)!.slots > 0)
})

t.test('a drain ends with its flows, and not before all of them are known', async t => {
  const site = await open(t, fileOf([b(1), b(2)]))
  site.flows.set('10.0.0.2:80', busy(0))
  await site.handlers['backend.drain']({ service: 'web', backend: 'b2' }, PEER)
  await site.pass(100)
  t.match(await show(site, 'b2'), { drain: { isOut: false, remaining: null, deadline: null } })
  site.flows.set('10.0.0.2:80', { live: 0, isExact: true, sweepBeganMs: site.now() })
  await site.pass(1)
  t.match(await show(site, 'b2'), { drain: { isOut: false } }, 'the sweep must have begun after that')
  site.flows.set('10.0.0.2:80', { live: 0, isExact: true, sweepBeganMs: site.now() + 1 })
  await site.pass(1)
  t.match(await show(site, 'b2'), { drain: { isOut: true }, flows: 0, flowsAtLeast: false })
})

t.test("a drain changes nobody else's slots", async t => {
  const site = await open(t, fileOf([b(1), b(2), b(3)]))
  const before = site.put.get(WEB)!.owners
  await site.handlers['backend.drain']({ service: 'web', backend: 'b2' }, PEER)
  const after = site.put.get(WEB)!.owners
  t.equal(before.filter((owner, slot) => owner !== 1 && owner !== after[slot]).length, 0)
  await site.handlers['backend.undrain']({ service: 'web', backend: 'b2' }, PEER)
  t.same(site.put.get(WEB)!.owners, before)
})

t.test('orders: what follows from what', async t => {
  const site = await open(t, fileOf([b(1), b(2)]))
  const { handlers } = site
  const b2 = { service: 'web', backend: 'b2' }
  t.match(await handlers['backend.undrain'](b2, PEER), { state: 'enabled' }, 'nothing to undrain is no error')
  await handlers['backend.disable'](b2, PEER)
  t.same(inTables(site, 2), { isDead: true, isDraining: false, slots: 0 })
  await t.rejects(handlers['backend.undrain'](b2, PEER), { code: 'ERR_CONFLICT' })
  t.match(await handlers['backend.drain'](b2, PEER), { state: 'draining' })
  t.match(await handlers['backend.enable'](b2, PEER), { state: 'enabled' })
  await t.rejects(handlers['backend.drain']({ ...b2, backend: 'b9' }, PEER), { code: 'ERR_NOT_FOUND' })
  await t.rejects(handlers['backend.drain']({ ...b2, service: 'x' }, PEER), { code: 'ERR_NOT_FOUND' })
  await handlers['backend.remove'](b2, PEER)
  await t.rejects(handlers['backend.drain'](b2, PEER), { code: 'ERR_CONFLICT', message: 'web/b2 is leaving' })
})

t.test('a backend that is removed leaves: listed, without a place in the ring', async t => {
  const site = await open(t, fileOf([b(1), b(2), b(3)]))
  site.flows.set('10.0.0.2:80', busy(3))
  const remove = site.handlers['backend.remove']
  t.same(await remove({ service: 'web', backend: 'b2' }, PEER), {
    service: 'web',
    backend: 'b2',
    isLeaving: true,
  })
  t.same(inTables(site, 2), { isDead: false, isDraining: true, slots: 0 })
  const alone = await open(t, fileOf([b(1), b(3)]))
  const digest = async ({ handlers }: FakeSite) =>
    (await handlers['service.show']({ service: 'web' }, PEER)).digest
  t.equal(await digest(site), await digest(alone))
  t.match(await site.handlers['backend.list']({ service: 'web' }, PEER), [
    { backend: 'b1' },
    { backend: 'b3' },
    { backend: 'b2', state: 'leaving', slots: 0, flows: 3, drain: { remaining: 3600 } },
  ])
  await site.pass(3599)
  t.ok(inTables(site, 2))
  await site.pass(2)
  t.equal(inTables(site, 2), null, 'its leave deadline has come')
  await t.rejects(show(site, 'b2'), { code: 'ERR_NOT_FOUND' })
  t.match(site.events.at(-1), { kind: 'admin', state: 'leaving', isOut: true })
})

t.test('one that is down while it leaves is dead; added again it is enabled', async t => {
  const site = await open(t, fileOf([b(1), b(2)]))
  site.flows.set('10.0.0.2:80', busy(3))
  await site.handlers['backend.remove']({ service: 'web', backend: 'b2' }, PEER)
  await site.judge('10.0.0.2:80', 'down')
  t.same(inTables(site, 2), { isDead: true, isDraining: true, slots: 0 })
  await site.judge('10.0.0.2:80', 'up')
  await site.handlers['backend.add']({ service: 'web', backend: 'b2', address: '10.0.0.2' }, PEER)
  t.match(inTables(site, 2), { isDead: false, isDraining: false })
  t.ok(inTables(site, 2)!.slots > 0)
})

t.test('--now cuts, also one that is leaving; one that is disabled has nothing to wait for', async t => {
  const site = await open(t, fileOf([b(1), b(2), b(3)]))
  const remove = site.handlers['backend.remove']
  t.match(await remove({ service: 'web', backend: 'b2', now: true }, PEER), { isLeaving: false })
  t.equal(inTables(site, 2), null)
  await site.handlers['backend.disable']({ service: 'web', backend: 'b3' }, PEER)
  t.match(await remove({ service: 'web', backend: 'b3' }, PEER), { isLeaving: false })
  site.flows.set('10.0.0.1:80', busy(3))
  await remove({ service: 'web', backend: 'b1' }, PEER)
  t.match(await remove({ service: 'web', backend: 'b1' }, PEER), { isLeaving: true }, 'again: as it is')
  t.match(await remove({ service: 'web', backend: 'b1', now: true }, PEER), { isLeaving: false })
  t.equal(inTables(site, 1), null)
})

t.test('without tracking a removed backend goes at once', async t => {
  const site = await open(t, fileOf([b(1), b(2)], { tracking: 'never' }))
  await site.handlers['backend.remove']({ service: 'web', backend: 'b2' }, PEER)
  await t.rejects(show(site, 'b2'), { code: 'ERR_NOT_FOUND' })
  t.equal(inTables(site, 2), null)
})

t.test('the last resort is alive, even if it was out; when the others are back it drains anew', async t => {
  const site = await open(t, fileOf([b(1), b(2)]))
  site.flows.set('10.0.0.2:80', busy(1))
  await site.handlers['backend.drain']({ service: 'web', backend: 'b2', deadline: 5 }, PEER)
  await site.pass(10)
  t.match(inTables(site, 2), { isDead: true, slots: 0 })
  await site.judge('10.0.0.1:80', 'down')
  t.same(inTables(site, 2), { isDead: false, isDraining: true, slots: 1021 })
  await site.pass(1)
  t.match(await show(site, 'b2'), { slots: 1021, reason: 'draining, but nobody else is left' })
  await site.judge('10.0.0.1:80', 'up')
  await site.pass(1)
  t.same(inTables(site, 2), { isDead: false, isDraining: true, slots: 0 })
  await site.pass(6)
  t.match(inTables(site, 2), { isDead: true })
})

t.test('with last-resort: none it is not', async t => {
  const site = await open(t, fileOf([b(1), b(2, { weight: 0 })], { 'last-resort': 'none' }))
  await site.judge('10.0.0.1:80', 'down')
  t.match(inTables(site, 2), { slots: 0 })
  const other = await open(t, fileOf([b(1), b(2, { weight: 0 })]))
  await other.judge('10.0.0.1:80', 'down')
  t.match(inTables(other, 2), { slots: 1021 })
  t.match((await other.handlers['ring.show']({ service: 'web', down: ['b2'] }, PEER)).backends, [
    { slots: 0 },
    { slots: 0 },
  ])
})

t.test('what an earlier process left in the tables, and the file lacks, is leaving', async t => {
  const adopted = { [WEB]: ['10.0.0.1:80', '10.0.0.7:80'] }
  const site = await open(t, fileOf([b(1)]), { adopted })
  t.match(await show(site, '10.0.0.7'), { state: 'leaving' })
  t.same(inTables(site, 7), { isDead: false, isDraining: true, slots: 0 })
})

t.test('what was ordered survives a restart, and apply takes it back', async t => {
  const stateDir = temporaryDirectory(t)
  const file = fileOf([b(1), b(2), b(3)])
  const site = await createFakeSite(t, { file, stateDir })
  site.flows.set('10.0.0.3:80', busy(1))
  await site.handlers['backend.drain']({ service: 'web', backend: 'b2', deadline: 600 }, PEER)
  await site.handlers['backend.set']({ service: 'web', backend: 'b1', weight: 0 }, PEER)
  await site.handlers['backend.remove']({ service: 'web', backend: 'b3' }, PEER)
  await site.handlers['backend.add']({ service: 'web', backend: 'b4', address: '10.0.0.4' }, PEER)

  const again = await createFakeSite(t, { file, stateDir })
  const rows = await again.handlers['backend.list']({}, PEER)
  t.same(
    rows.map(({ backend, state, weight }) => `${backend} ${state} ${weight}`),
    ['b1 enabled 0', 'b2 draining 1', 'b4 enabled 1', 'b3 leaving 1'],
  )
  const diff = await again.handlers.diff({}, PEER)
  t.same(diff.changes.map(({ name, detail }) => `${name} ${detail}`).sort(), [
    'web/b1 weight 0 -> 1',
    'web/b2 state draining -> enabled',
    'web/b3 10.0.0.3:80, weight 1',
    'web/b4 10.0.0.4:80',
  ])
  t.equal(diff.drift.filter(({ isThrownAway }) => isThrownAway).length, 4)
  t.match(diff.impact, [{ service: 'web', slots: 1021, breaks: false }])

  again.file = fileOf([b(1), b(2), b(3), b(4)])
  const folded = await again.handlers.diff({}, PEER)
  t.same(
    folded.drift.filter(({ isThrownAway }) => !isThrownAway).map(({ name }) => name),
    ['web/b4'],
    'what the file says too is not thrown away',
  )
  await again.handlers.apply({}, PEER)
  t.match(await again.handlers.diff({}, PEER), { changes: [], drift: [], impact: [] })
  const third = await createFakeSite(t, { file: again.file, stateDir })
  t.ok((await third.handlers['backend.list']({}, PEER)).every(({ state }) => state === 'enabled'))
})

t.test('a configuration applied over the socket survives, until the file is edited', async t => {
  const stateDir = temporaryDirectory(t)
  const file = fileOf([b(1)])
  const site = await createFakeSite(t, { file, stateDir })
  await site.handlers.apply({ config: fileOf([b(1), b(2)]) }, PEER)
  const names = async ({ handlers }: FakeSite) =>
    (await handlers['backend.list']({}, PEER)).map(({ backend }) => backend)
  t.same(await names(await createFakeSite(t, { file, stateDir })), ['b1', 'b2'])
  const edited = await createFakeSite(t, { file: fileOf([b(3)]), stateDir })
  t.same(await names(edited), ['b3'])
  t.match(edited.log.lines, [{ level: 'warn', message: /the file was edited/ }])
})

t.test('apply refuses what breaks connections, unless it is forced', async t => {
  const site = await open(t, fileOf([b(1), b(2)]))
  site.file = fileOf([b(1), b(2)], { 'ring-size': 2039 })
  t.match(await site.handlers.diff({}, PEER), { breaks: true, impact: [{ slotsMoved: 1021, breaks: true }] })
  await t.rejects(site.handlers.apply({}, PEER), {
    code: 'ERR_CONFLICT',
    message: /web: ring-size 1021 -> 2039/,
    hint: /--force/,
  })
  t.equal(site.put.get(WEB)!.owners.length, 1021)
  await site.handlers.apply({ force: true }, PEER)
  t.equal(site.put.get(WEB)!.owners.length, 2039)
})

t.test("the share of the last minute's packets is that of the owners who lose slots", async t => {
  const site = await open(t, fileOf([b(1), b(2)]), { tracked: 1021 })
  await site.pass(1)
  site.packets.set('10.0.0.1:80', 750)
  site.packets.set('10.0.0.2:80', 250)
  site.flows.set('10.0.0.2:80', busy(40, true))
  site.file = fileOf([b(1)])
  const { impact } = await site.handlers.diff({}, PEER)
  t.match(impact, [{ packetShare: 0.25, flows: 40 }])
})

t.test('each change is in the audit log, done or refused', async t => {
  const stateDir = temporaryDirectory(t)
  const site = await createFakeSite(t, { file: fileOf([b(1), b(2)]), stateDir })
  await site.handlers['backend.drain']({ service: 'web', backend: 'b2' }, PEER)
  await t.rejects(site.handlers['backend.set']({ service: 'web', backend: 'b9', weight: 1 }, PEER))
  site.file = 'nonsense'
  await t.rejects(site.handlers.apply({}, PEER), { code: 'ERR_CONFIG_INVALID' })
  await site.audit.flush()
  const lines = readFileSync(join(stateDir, 'audit.log'), 'utf8').trimEnd().split('\n')
  t.match(
    lines.map(line => JSON.parse(line)),
    [
      {
        uid: 1000,
        pid: 4242,
        method: 'backend.drain',
        result: 'ok',
        changes: [{ detail: 'state enabled -> draining' }],
      },
      { method: 'backend.set', result: 'ERR_NOT_FOUND' },
      { method: 'apply', result: 'ERR_CONFIG_INVALID' },
    ],
  )
})

t.test('a change that the tables refuse has not happened, and stops nothing else', async t => {
  const dns = { vip: '192.0.2.53', port: 53, protocol: 'udp', backends: [b(7)] }
  const file = (backends: readonly object[], more: readonly object[]): string => {
    const config = JSON.parse(fileOf(backends))
    config.services.dns = { ...dns, backends: [b(7), ...more] }
    return JSON.stringify(config)
  }
  const site = await open(t, file([b(1), b(2)], []))
  site.refused.add('10.0.0.3:80')
  const add = (address: string) =>
    site.handlers['backend.add']({ service: 'web', backend: `b${address.slice(7)}`, address }, PEER)
  const answers = await Promise.allSettled([add('10.0.0.3'), add('10.0.0.4')])
  t.same(
    answers.map(({ status }) => status),
    ['rejected', 'rejected'],
    'they came together',
  )
  await site.pass(2)
  t.equal(inTables(site, 3), null)
  t.equal(site.balancer.config().services[0]!.backends.length, 2)
  await add('10.0.0.4')
  t.ok(inTables(site, 4)!.slots > 0, 'what can be done is done')

  site.file = file([b(1), b(2), b(3)], [b(8)])
  await t.rejects(site.handlers.apply({}, PEER), { code: 'ERR_LIMIT' })
  await site.pass(2)
  t.match(JSON.stringify(await site.handlers.diff({}, PEER)), /b3.*b8|b8.*b3/, 'the file is not in effect')

  // Nobody asked for this one: it stays wanted, and is tried again.
  await site.judge('10.0.0.2:80', 'down')
  t.equal(inTables(site, 2)!.isDead, true)
})

/** Two services; the tables take no change of the second. */
const openRefusing = async (t: Test): Promise<FakeSite> => {
  const config = JSON.parse(fileOf([b(1), b(2), b(3)]))
  const dns = { vip: '192.0.2.53', port: 53, protocol: 'udp', health: { type: 'tcp' } }
  config.services.dns = { ...dns, backends: [b(1), b(7)] }
  const site = await open(t, JSON.stringify(config))
  site.refused.add('10.0.0.7:53')
  await t.rejects(site.judge('10.0.0.7:53', 'down'))
  return site
}

t.test('what failed is tried again', async t => {
  const site = await openRefusing(t)
  const dns = () => site.put.get('192.0.2.53:53/udp')!.backends[1]!
  t.equal(dns().isDead, false)
  await site.pass(2)
  t.equal(site.log.lines.filter(({ level }) => level === 'error').length, 1, 'said once')
  site.refused.clear()
  await site.pass(2)
  t.equal(dns().isDead, true)
})

t.test('a service that is refused stops no change of another', async t => {
  const site = await openRefusing(t)
  await site.handlers['backend.drain']({ service: 'web', backend: 'b2' }, PEER)
  t.match(inTables(site, 2), { isDraining: true, slots: 0 })
  await site.handlers['backend.enable']({ service: 'web', backend: 'b1' }, PEER)
  t.equal(inTables(site, 1)!.isDead, false, 'what changes nothing is answered, too')
  await t.rejects(site.handlers['backend.set']({ service: 'dns', backend: 'b1', weight: 3 }, PEER))
  t.match(await show(site, 'b2'), { state: 'draining' })
})

t.test('a change that fails is taken back whatever else has changed meanwhile', async t => {
  const site = await open(t, fileOf([b(1), b(2), b(3)], { 'leave-deadline': '30s' }))
  await site.handlers['backend.remove']({ service: 'web', backend: 'b3' }, PEER)
  site.flows.set('10.0.0.3:80', busy(7))
  site.refused.add('10.0.0.9:80')
  const added = site.handlers['backend.add']({ service: 'web', backend: 'b9', address: '10.0.0.9' }, PEER)
  const weighed = site.handlers['backend.set']({ service: 'web', backend: 'b9', weight: 5 }, PEER)
  const [one, other] = await Promise.allSettled([added, weighed, site.pass(60)])
  t.same([one?.status, other?.status], ['rejected', 'rejected'])
  await site.pass(2)
  const names = site.balancer.config().services[0]!.backends.map(({ name }) => name)
  t.same(names, ['b1', 'b2'])
  t.equal(inTables(site, 3), null, 'the one that was leaving has gone')
})
