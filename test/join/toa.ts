/** `--toa`: attached to a cgroup, seen by a check, changed, and taken off again; beside what others have there. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { checkBackend } from '../../src/join/check.js'
import { joinBackend, leave } from '../../src/join/join.js'
import { attachedToa, loadToa, toaHooks } from '../../src/join/toa.js'
import type { Prefix, Wanted } from '../../src/join/wanted.js'
import { inOwnNamespaces, native, skip } from '../fixtures/native.js'
import { openCgroup } from '../fixtures/own-cgroup.js'
import { freshHost, sh, snapshot, wanted } from './fixtures/backend-host.js'

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

const linimo = (...words: readonly string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...words], {
    encoding: 'utf8',
    cwd: '/',
  })
  return { status, stdout, stderr }
}

const SOURCES: readonly Prefix[] = [
  { address: '10.0.0.100', bits: 32 },
  { address: 'fd00:10::', bits: 64 },
]

const toaAlone = (cgroup: string | null, sources = SOURCES): Wanted =>
  wanted([], { vips: [], interfaces: [], toa: { cgroup, sources } })

const idsOn = (cgroup: string) => toaHooks.map(hook => [...native.queryCgroup(cgroup, hook)])
const codesOf = async (what: Wanted) => (await checkBackend(what)).findings.map(({ code }) => code)

/** The same programs, by a join that another record tells of. */
const attachOthers = async (t: Test, cgroup: string) => {
  const { programs, close } = await loadToa([], null)
  t.teardown(close)
  for (const hook of toaHooks) await native.attachCgroup(programs[hook], cgroup, hook)
  return toaHooks.map(hook => programs[hook].info.id)
}

if (inOwnNamespaces(t, import.meta.url)) {
  t.test(
    'attached, seen, and taken off without a trace; nothing of the host is touched',
    { skip },
    async t => {
      const { statePath, hasState } = await freshHost(t)
      const cgroup = openCgroup(t)
      const before = snapshot()
      const what = toaAlone(cgroup)
      t.same(await codesOf(what), ['toa-missing'])
      t.same(idsOn(cgroup), [[], [], []], 'a check changes nothing')

      t.match(await joinBackend(what, statePath), {
        changed: [`clients' addresses of TCP option 254, for cgroup ${cgroup}`],
        undone: [],
        warnings: [],
      })
      t.match(await checkBackend(what), { ok: true, findings: [], toa: { cgroup, counts: {} } })
      t.match(attachedToa(cgroup).sources, SOURCES)
      const ids = idsOn(cgroup)
      t.ok(ids.every(({ length }) => length === 1))
      t.same(snapshot(), before)

      t.same(await joinBackend(what, statePath), { changed: [], undone: [], warnings: [] })
      t.same(idsOn(cgroup), ids, 'a second time changes nothing')
      t.equal((await leave(statePath)).undone.length, 1)
      t.same(idsOn(cgroup), [[], [], []])
      t.notOk(hasState())
      t.same(await leave(statePath), { undone: [], kept: [] })
    },
  )

  t.test('other sources: the programs are replaced, and none is left over', { skip }, async t => {
    const { statePath } = await freshHost(t)
    const cgroup = openCgroup(t)
    await joinBackend(toaAlone(cgroup), statePath)
    const before = idsOn(cgroup)
    const clients = attachedToa(cgroup).clientsId
    for (const sources of [SOURCES.slice(0, 1), [], SOURCES]) {
      const what = toaAlone(cgroup, sources)
      t.same(await codesOf(what), sources.length > 0 ? ['toa-differs'] : ['toa-differs', 'toa-any-source'])
      const { changed, warnings } = await joinBackend(what, statePath)
      t.equal(changed.length, 1)
      t.same(
        warnings.map(({ code }) => code).filter(code => code === 'toa-any-source'),
        sources.length > 0 ? [] : ['toa-any-source'],
      )
      t.ok((await checkBackend(what)).ok)
    }
    t.ok(idsOn(cgroup).every((ids, i) => ids.length === 1 && ids[0] !== before[i]![0]))
    t.equal(attachedToa(cgroup).clientsId, clients, 'what is known of present connections stays')
    await leave(statePath)
    t.same(idsOn(cgroup), [[], [], []])
  })

  t.test('another cgroup, or none: the first is given back', { skip }, async t => {
    const { statePath } = await freshHost(t)
    const [one, two] = [openCgroup(t), openCgroup(t)]
    await joinBackend(toaAlone(one), statePath)
    const { undone } = await joinBackend(toaAlone(two), statePath)
    t.same(undone, [`clients' addresses of TCP option 254, for cgroup ${one}`])
    t.same(idsOn(one), [[], [], []])
    await joinBackend(wanted([]), statePath)
    t.same(idsOn(two), [[], [], []])
    await leave(statePath)
  })

  t.test('a part that is missing is said, and mended', { skip }, async t => {
    const { statePath } = await freshHost(t)
    const cgroup = openCgroup(t)
    for (const hook of toaHooks) {
      await joinBackend(toaAlone(cgroup), statePath)
      const program = native.BpfProgram.openById(attachedToa(cgroup).ids[hook]!)
      await native.detachCgroup(cgroup, hook, program)
      program.close()
      t.same(await codesOf(toaAlone(cgroup)), ['toa-missing'], hook)
    }
    await joinBackend(toaAlone(cgroup), statePath)
    t.ok(idsOn(cgroup).every(({ length }) => length === 1))
    await leave(statePath)
    t.same(idsOn(cgroup), [[], [], []])
  })

  t.test('those of somebody else stay: they are no part of the record', { skip }, async t => {
    const { statePath } = await freshHost(t)
    const cgroup = openCgroup(t)
    await joinBackend(toaAlone(cgroup), statePath)
    const others = await attachOthers(t, cgroup)
    await leave(statePath)
    t.same(
      idsOn(cgroup),
      others.map(id => [id]),
    )
  })

  t.test('replaced by others: leaving takes nothing, and says so', { skip }, async t => {
    const { statePath } = await freshHost(t)
    const cgroup = openCgroup(t)
    await joinBackend(toaAlone(cgroup), statePath)
    for (const hook of toaHooks) {
      const program = native.BpfProgram.openById(attachedToa(cgroup).ids[hook]!)
      await native.detachCgroup(cgroup, hook, program)
      program.close()
    }
    await attachOthers(t, cgroup)
    t.match(await leave(statePath), { undone: [], kept: [/TCP option 254/] })
  })

  t.test(
    'a cgroup that has gone took them with it, and another of its name is not meant',
    { skip },
    async t => {
      const { statePath } = await freshHost(t)
      const cgroup = join(openCgroup(t), 'inner')
      mkdirSync(cgroup)
      t.teardown(() => rmdirSync(cgroup))
      await joinBackend(toaAlone(cgroup), statePath)
      rmdirSync(cgroup)
      mkdirSync(cgroup)
      const others = await attachOthers(t, cgroup)
      t.same(await leave(statePath), { undone: [], kept: [] })
      t.same(
        idsOn(cgroup),
        others.map(id => [id]),
      )
    },
  )

  t.test('with VIPs and a tunnel beside it, a join that fails takes all of it back', { skip }, async t => {
    const { statePath, hasState } = await freshHost(t)
    const cgroup = openCgroup(t)
    const before = snapshot()
    const what = wanted(['ipip'], { toa: { cgroup, sources: SOURCES } })
    await joinBackend(what, statePath)
    t.ok((await checkBackend(what)).ok)
    await leave(statePath)
    t.same(snapshot(), before)
    t.same(idsOn(cgroup), [[], [], []])

    // As one that was cut off behind the record: what it names was never attached.
    await joinBackend(what, statePath)
    const recorded = readFileSync(statePath, 'utf8')
    await leave(statePath)
    writeFileSync(statePath, recorded)
    t.same(await leave(statePath), { undone: [], kept: [] })
    t.notOk(hasState())
    t.same(snapshot(), before)
  })

  t.test('as a command: no VIP, no interface; in words, as JSON, and at each boot', { skip }, async t => {
    const { statePath, hasState } = await freshHost(t)
    const cgroup = openCgroup(t)
    const words = ['join', '--toa', '--toa-from', 'fd00:10::/64,10.0.0.100', '--cgroup', cgroup]
    const state = ['--state', statePath]
    const missing = linimo(...words, '--check')
    t.match(missing, { status: 1, stdout: `wrong: nothing in cgroup ${cgroup} reads TCP option 254\n` })
    t.match(linimo(...words, ...state), {
      status: 0,
      stdout: `clients' addresses of TCP option 254, for cgroup ${cgroup}\n`,
      stderr: '',
    })
    t.same(linimo(...words, '--check'), {
      status: 0,
      stdout: `${cgroup}: reads TCP option 254; no connections so far\nthis host is ready as a backend\n`,
      stderr: '',
    })
    t.match(JSON.parse(linimo(...words, '--check', '--json').stdout), {
      ok: true,
      toa: { cgroup, counts: {} },
    })
    t.match(linimo(...words.slice(0, 2), '--cgroup', cgroup, '--check'), {
      status: 1,
      stdout: /believed of 10\.0\.0\.100\/32 fd00:10::\/64 instead of anybody\n.*\nwarning: .*anybody/,
    })
    const { stdout } = linimo(
      'join',
      '--toa',
      '--toa-from',
      '10.0.0.100',
      '--cgroup',
      'sub/group',
      '--systemd',
    )
    t.match(stdout, /^After=network-online\.target$/m)
    t.match(stdout, / join --toa --toa-from 10\.0\.0\.100 --cgroup \/sub\/group\n/)
    t.match(linimo('leave', ...state), { status: 0, stdout: `undone: clients' addresses` })
    t.same(idsOn(cgroup), [[], [], []])
    t.notOk(hasState())
  })

  t.test('what is no cgroup is refused by name', { skip }, async t => {
    const { statePath } = await freshHost(t)
    t.same(await codesOf(toaAlone('/proc')), ['toa-no-cgroup'])
    await t.rejects(joinBackend(toaAlone('/proc'), statePath), {
      code: 'ERR_NOT_FOUND',
      message: '/proc is no cgroup (v2)',
    })
    sh('mount -t tmpfs none /sys/fs/cgroup')
    t.teardown(() => sh('umount /sys/fs/cgroup'))
    t.same(await codesOf(toaAlone(null)), ['toa-no-cgroup'], 'none that is mounted can be reached')
  })
}
