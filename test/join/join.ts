/** A host becomes a backend and is let go again: what is there afterwards is compared with all that was there before. */
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { make } from '../../src/join/apply.js'
import { checkBackend } from '../../src/join/check.js'
import { loadDecapsulator } from '../../src/join/decapsulator.js'
import { joinBackend, leave } from '../../src/join/join.js'
import type { Setting } from '../../src/join/setting.js'
import { loadNative } from '../../src/native.js'
import { inOwnNamespaces, skip } from '../fixtures/native.js'
import { freshHost, REMOVE, sh, snapshot, VIP4, VIP6, wanted } from './fixtures/backend-host.js'
import { everything } from './fixtures/tunnelled.js'

const PASS_OBJECT = new URL('../../build/native/bpf/lab_pass.bpf.o', import.meta.url).pathname
const conf = (name: string) => readFileSync(`/proc/sys/net/ipv4/conf/${name}`, 'utf8').trim()
const advmss = (destination: string, version = 4) =>
  JSON.parse(sh(`ip -json -${version} route show ${destination}`)).map(
    (route: { metrics?: { advmss?: number }[] }) => route.metrics?.[0]?.advmss ?? null,
  )

if (inOwnNamespaces(t, import.meta.url)) {
  t.test('every mode: joined, ready, and let go without a trace', { skip }, async t => {
    for (const modes of [[], ['ipip'], ['gre'], ['gue'], ['ipip', 'gre', 'gue']] as const)
      await t.test(modes.join(' and ') || 'direct routing', async t => {
        const { statePath, hasState } = await freshHost(t)
        const before = snapshot()
        t.equal((await checkBackend(wanted(modes))).ok, false)
        t.same(snapshot(), before, 'a check changes nothing')

        const { changed, undone } = await joinBackend(wanted(modes), statePath)
        t.same(undone, [])
        t.equal(changed.length, modes.length === 0 ? 6 : 11)
        t.same((await checkBackend(wanted(modes))).findings, [])
        t.equal(statSync(statePath).mode & 0o777, 0o600)

        const joined = snapshot()
        t.same(await joinBackend(wanted(modes), statePath), { changed: [], undone: [], warnings: [] })
        t.same(snapshot(), joined, 'a second time changes nothing')

        t.equal((await leave(statePath)).undone.length, changed.length)
        t.same(snapshot(), before)
        t.notOk(hasState())
        t.same(await leave(statePath), { undone: [], kept: [] })
        t.same(snapshot(), before)
      })
  })

  t.test('what it sets is what a backend needs', { skip }, async t => {
    const { statePath } = await freshHost(t)
    await joinBackend(wanted(['ipip']), statePath)
    for (const name of ['all', 'eth0'])
      t.same([conf(`${name}/arp_ignore`), conf(`${name}/arp_announce`)], ['1', '2'], name)
    t.match(JSON.parse(sh('ip -json address show dev lo'))[0].addr_info, [
      {},
      { local: VIP4, prefixlen: 32, scope: 'host' },
      { local: VIP6, prefixlen: 128, deprecated: true, nodad: true },
    ])
    t.same([advmss('default'), advmss('10.0.0.0/24')], [[1420], [1420]], 'an outer IPv6 header has 40 bytes')
    t.same([advmss('default', 6), advmss('fd00:10::/64', 6)], [[1400], [1400]])
    t.match(JSON.parse(sh('ip -json -details link show eth0'))[0].xdp, { prog: { name: 'linimo_decap' } })
  })

  t.test('the segment size follows the tunnel, or the word', { skip }, async t => {
    const { statePath } = await freshHost(t)
    const ipv4 = { addresses: ['10.0.0.11'] }
    for (const [modes, changes, sizes] of [
      [['ipip'], ipv4, [1440, 1420]],
      [['gre'], ipv4, [1432, 1412]],
      [['gue'], ipv4, [1428, 1408]],
      [['ipip', 'gue'], ipv4, [1428, 1408]],
      [['ipip'], { mss: { kind: 'mtu', mtu: 1400 } }, [1360, 1340]],
      [['ipip'], { mss: { kind: 'advmss', advmss: 1300 } }, [1300, 1300]],
      [['ipip'], ipv4, [1440, 1420]],
      [['ipip'], { mss: { kind: 'kept' } }, [null, null]],
    ] as const) {
      await joinBackend(wanted(modes, changes), statePath)
      t.same([...advmss('default'), ...advmss('default', 6)], sizes, JSON.stringify([modes, changes]))
      t.ok((await checkBackend(wanted(modes, changes))).ok)
    }
  })

  t.test('what an operator has set well is used, and left as it is', { skip }, async t => {
    const { statePath } = await freshHost(t)
    sh(`
      echo 2 >/proc/sys/net/ipv4/conf/all/arp_ignore; echo 2 >/proc/sys/net/ipv4/conf/eth0/arp_announce
      ip address add ${VIP4}/32 dev lo
      ip link add eth1 type veth peer name peer1; ip link set eth1 arp off up; ip address add ${VIP6}/128 dev eth1 nodad
      ip route replace default via 10.0.0.1 advmss 1300; ip route add 10.8.0.0/16 via 10.0.0.1 mtu 1400
    `)
    const before = snapshot()
    const { changed } = await joinBackend(wanted(), statePath)
    t.same(
      changed.filter(text => !text.startsWith('route')),
      [
        'net.ipv4.conf.eth0.arp_ignore = 1 (was 0)',
        'net.ipv4.conf.all.arp_announce = 2 (was 0)',
        'decapsulator on eth0',
      ],
    )
    t.same([conf('all/arp_ignore'), conf('eth0/arp_ignore')], ['2', '1'])
    t.same([advmss('default'), advmss('10.8.0.0/16')], [[1300], [null]])
    t.ok((await checkBackend(wanted())).ok)
    await leave(statePath)
    t.same(snapshot(), before)
  })

  t.test('routes of every kind come back as they were', { skip }, async t => {
    const { statePath } = await freshHost(t)
    sh(`
      ip link add eth1 type veth peer name peer1; ip address add 10.0.1.11/24 dev eth1; ip link set eth1 up; ip link set peer1 up
      ip route add 10.20.0.0/16 nexthop via 10.0.0.2 weight 3 nexthop via 10.0.1.2 weight 5
      ip route add 10.21.0.0/16 via 10.0.0.3 src 10.0.0.11 metric 7 mtu lock 1500 window 30000 rto_min 5ms quickack 1 proto bird
      ip route add 10.21.0.0/16 via 10.0.0.4 metric 9 tos 0x10
      ip route add 10.22.0.0/16 via 172.31.0.1 dev eth0 onlink
      ip route add 10.23.0.0/16 dev eth0 scope link table 77
      ip route add 10.24.0.0/16 via inet6 fd00:10::4 dev eth0
      ip nexthop add id 5 via 10.0.0.5 dev eth0; ip route add 10.25.0.0/16 nhid 5
      ip route add blackhole 10.26.0.0/16
      ip -6 route add fd00:20::/48 nexthop via fd00:10::2 weight 2 nexthop via fd00:10::3
      ip -6 route add fd00:21::/48 via fd00:10::2 metric 7 pref high advmss 9000
      ip -6 route add fd00:22::/48 dev eth0 table 77
      ip -6 route add default via fd00:10::9 metric 4096 initcwnd 20
    `)
    const before = snapshot()
    await joinBackend(wanted(), statePath)
    for (const [destination, version, mss] of [
      ['10.20.0.0/16', 4, [1420]],
      ['10.21.0.0/16', 4, [1420, 1420]],
      ['10.22.0.0/16', 4, [1420]],
      ['10.23.0.0/16 table 77', 4, [1420]],
      ['10.24.0.0/16', 4, [1420]],
      ['10.25.0.0/16', 4, [1420]],
      ['10.26.0.0/16', 4, [null]],
      ['10.0.1.0/24', 4, [1420]],
      ['fd00:20::/48', 6, [1400]],
      ['fd00:21::/48', 6, [1400]],
      ['fd00:22::/48 table 77', 6, [1400]],
      ['default', 6, [1400, 1400]],
    ] as const) {
      const found: (number | null)[] = JSON.parse(sh(`ip -json -${version} route show ${destination}`)).map(
        ({ metrics }: { metrics?: readonly Record<string, number>[] }) =>
          metrics?.find(one => 'advmss' in one)?.advmss ?? null,
      )
      t.same(found, mss, destination)
    }
    t.same((await checkBackend(wanted())).findings, [])
    await leave(statePath)
    t.same(snapshot(), before)
  })

  t.test('another join changes to what it wants, and is undone as a whole', { skip }, async t => {
    const { statePath } = await freshHost(t)
    const before = snapshot()
    await joinBackend(wanted(['ipip']), statePath)
    const other = wanted(['gue'], { vips: ['192.0.2.20', VIP6] })
    const { changed, undone } = await joinBackend(other, statePath)
    t.ok(undone.some(text => text.includes(VIP4)))
    t.ok(changed.some(text => text.includes('192.0.2.20')))
    t.notMatch(sh('ip address show dev lo'), /192\.0\.2\.10\//)
    t.ok((await checkBackend(other)).ok)

    const direct = wanted([])
    await joinBackend(direct, statePath)
    t.ok((await checkBackend(direct)).ok)
    t.same(
      [advmss('default'), snapshot().programs],
      [[null], before.programs],
      'direct routing has no tunnel',
    )
    await leave(statePath)
    t.same(snapshot(), before)
  })

  t.test('the decapsulator is replaced in place', { skip }, async t => {
    const { statePath } = await freshHost(t)
    await joinBackend(wanted(['ipip'], { xdp: 'generic' }), statePath)
    const idOf = () => JSON.parse(sh('ip -json -details link show eth0'))[0].xdp
    const first = idOf()
    await joinBackend(wanted(['gre'], { xdp: 'generic' }), statePath)
    t.not(idOf().prog.id, first.prog.id)
    t.equal(idOf().mode, first.mode)
    const { changed } = await joinBackend(wanted(['gre'], { xdp: 'native' }), statePath)
    t.same(changed, ['decapsulator on eth0'])
    t.not(idOf().mode, first.mode)
    t.match((await checkBackend(wanted(['gre'], { xdp: 'generic' }))).findings, [{ code: 'program-mode' }])
    await leave(statePath)
    t.equal(idOf(), undefined)
  })

  /** What somebody does while it is joined, and whether that is theirs after `leave`. */
  const meddling: readonly (readonly [what: string, script: string, kept: readonly RegExp[]])[] = [
    ['a sysctl was changed', 'echo 8 >/proc/sys/net/ipv4/conf/all/arp_ignore', [/all\.arp_ignore/]],
    ['a sysctl was set back', 'echo 0 >/proc/sys/net/ipv4/conf/all/arp_ignore', []],
    ['a VIP was removed', `ip address del ${VIP4}/32 dev lo`, []],
    ['a route was removed', 'ip route del default', []],
    ['a route was replaced', 'ip route replace default via 10.0.0.77', [/route default dev eth0/]],
    [
      'a route was given another size',
      'ip route change default via 10.0.0.1 advmss 900',
      [/route default dev eth0/],
    ],
    ['a route was added', 'ip route add 10.99.0.0/16 via 10.0.0.1 advmss 1200', []],
    ['the program was removed', 'ip link set dev eth0 xdpdrv off', []],
    [
      'the program was replaced',
      `ip link set dev eth0 xdpdrv off; ip link set dev eth0 xdpdrv obj ${PASS_OBJECT} sec xdp`,
      [/decapsulator on eth0/],
    ],
    [
      'addresses were added',
      'ip address add 10.0.0.99/24 dev eth0; ip address add 203.0.113.9/32 dev lo',
      [],
    ],
    ['the interface went down and up', 'ip link set eth0 down; ip link set eth0 up', []],
    ['the interface is gone', 'ip link delete eth0', []],
  ]
  t.test('what others have changed meanwhile is theirs, all else is undone', { skip }, async t => {
    for (const [what, script, kept] of meddling)
      await t.test(what, async t => {
        const { statePath, hasState } = await freshHost(t)
        await joinBackend(wanted(), statePath)
        sh(script)
        const result = await leave(statePath)
        t.equal(result.kept.length, kept.length, result.kept.join('; '))
        for (const pattern of kept) t.match(result.kept.join('\n'), pattern)
        const stable = (from: ReturnType<typeof snapshot>) =>
          JSON.parse(
            JSON.stringify(from)
              .replaceAll(/"(ifindex|id|btf_id|link_index|load_time|created_by_uid|tag)":"?\w+"?,?/g, '')
              .replaceAll(/"(address|permaddr)":"[0-9a-f:]{17}",?/g, '')
              .replaceAll(/,}/g, '}'),
          )
        t.notOk(hasState())
        t.same(await leave(statePath), { undone: [], kept: [] })
        const left = stable(snapshot())
        await t.test('as on a host that has never joined', async t => {
          sh(REMOVE)
          await freshHost(t)
          // What does not hold there, the VIP that is to be removed for example, is so already.
          sh(
            script
              .split('; ')
              .map(command => `{ ${command} || true; }`)
              .join('; '),
          )
          t.same(left, stable(snapshot()))
        })
      })
  })

  t.test('an interface that was renamed is found again', { skip }, async t => {
    const { statePath } = await freshHost(t)
    await joinBackend(wanted(), statePath)
    sh('ip link set eth0 name uplink')
    t.same((await leave(statePath)).kept, [])
    t.same([conf('uplink/arp_ignore'), conf('uplink/arp_announce'), conf('all/arp_ignore')], ['0', '0', '0'])
    t.notMatch(sh('ip link show uplink'), /xdp/)
    t.notMatch(sh('ip route; ip -6 route'), /advmss/)
  })

  t.test('a join that was cut off anywhere can be left, and finished', { skip }, async t => {
    const { statePath, hasState } = await freshHost(t)
    const before = snapshot()
    await joinBackend(wanted(), statePath)
    const record = JSON.parse(readFileSync(statePath, 'utf8')) as { settings: Setting[] }
    await leave(statePath)
    t.same(snapshot(), before)

    const program = await loadDecapsulator(everything)
    t.teardown(() => program.close())
    const settings = record.settings.map(setting =>
      setting.kind === 'program' ? { ...setting, programId: program.info.id } : setting,
    )
    const cutOff = async (made: number) => {
      writeFileSync(statePath, JSON.stringify({ ...record, settings }))
      const netlink = new (loadNative().Netlink)()
      for (const setting of settings.slice(0, made))
        await make(setting, netlink, { decapsulator: { program, xdp: 'auto' }, toa: null })
      netlink.close()
    }
    for (let made = 0; made <= settings.length; made++) {
      await cutOff(made)
      const { undone, kept } = await leave(statePath)
      t.same([undone.length, kept.length, hasState()], [made, 0, false], `${made} of ${settings.length} made`)
      t.same(snapshot(), before)

      await cutOff(made)
      await joinBackend(wanted(), statePath)
      t.ok((await checkBackend(wanted())).ok)
      await leave(statePath)
      t.same(snapshot(), before, 'finished, then left')
    }
  })

  t.test('a join that fails half-way leaves nothing behind', { skip }, async t => {
    const { statePath, hasState } = await freshHost(t)
    sh('ip link add bridge0 type bridge; ip address add 10.0.5.11/24 dev bridge0; ip link set bridge0 up')
    const before = snapshot()
    await t.rejects(joinBackend(wanted(['ipip'], { interfaces: ['bridge0'], xdp: 'native' }), statePath), {
      code: 'ERR_XDP_UNSUPPORTED',
    })
    t.same(snapshot(), before)
    t.notOk(hasState())

    await joinBackend(wanted(['ipip'], { interfaces: ['bridge0'] }), statePath)
    const joined = snapshot()
    await t.rejects(
      joinBackend(wanted(['gre'], { interfaces: ['bridge0', 'eth0'], xdp: 'native' }), statePath),
    )
    t.match(
      joined.programs.find(({ ifname }) => ifname === 'bridge0'),
      { xdp: {} },
    )
    await leave(statePath)
    t.same(snapshot(), before, 'also where something was joined before')
  })

  t.test('a record that cannot be believed is refused', { skip }, async t => {
    const { statePath } = await freshHost(t)
    await joinBackend(wanted(), statePath)
    const text = readFileSync(statePath, 'utf8')
    const joined = snapshot()
    const change = (changes: object) =>
      writeFileSync(statePath, JSON.stringify({ ...JSON.parse(text), ...changes }))

    for (const damaged of [
      text.slice(0, -40),
      '',
      '[]',
      JSON.stringify({ ...JSON.parse(text), format: 'linimo-join 9' }),
      JSON.stringify({
        ...JSON.parse(text),
        settings: [{ kind: 'sysctl', name: '../../etc/passwd', ifindex: null, before: '0', after: '1' }],
      }),
    ]) {
      writeFileSync(statePath, damaged)
      await t.rejects(leave(statePath), { code: 'ERR_STATE' })
      await t.rejects(joinBackend(wanted(), statePath), { code: 'ERR_STATE' })
    }
    change({ namespace: '1234567890' })
    await t.rejects(leave(statePath), { code: 'ERR_STATE', message: /another network namespace/ })
    t.same(snapshot(), joined, 'nothing was touched')

    change({ boot: '00000000-0000-0000-0000-000000000000' })
    t.same(await leave(statePath), { undone: [], kept: [] }, 'all of an earlier boot has gone with it')
    writeFileSync(statePath, text)
    await leave(statePath)
  })
}
