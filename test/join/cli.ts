/** `linimo join` and `linimo leave` as commands: words, exit codes, what is printed, and the unit for systemd. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { defaultStatePath } from '../../src/join/state-file.js'
import { inOwnNamespaces, skip } from '../fixtures/native.js'
import { freshHost, sh, snapshot, VIP4, VIP6 } from './fixtures/backend-host.js'

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

const command = (words: readonly string[], before: readonly string[] = []) => {
  const [program = '', ...args] = [...before, process.execPath, CLI, ...words]
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', cwd: '/' })
  return { status, stdout, stderr }
}
const linimo = (...words: readonly string[]) => command(words)
const flags = ['--vip', `${VIP4},${VIP6}`, '--interface', 'eth0', '--forward', 'ipip']

const config = {
  interfaces: ['eth0'],
  services: {
    web: {
      vip: VIP4,
      port: 80,
      forward: 'gue',
      backends: [
        { name: 'b1', address: '10.0.0.10' },
        { name: 'b2', address: '10.0.0.11' },
      ],
    },
    dns: { vip: '192.0.2.53', port: 53, protocol: 'udp', backends: [{ name: 'b1', address: '10.0.0.10' }] },
    web6: { vip: VIP6, port: 80, forward: 'ipip', backends: [{ name: 'b2', address: 'fd00:10::11' }] },
  },
}

if (inOwnNamespaces(t, import.meta.url)) {
  t.test('wrong words are usage errors', { skip }, async t => {
    for (const [words, message] of [
      [['join', '--interface', 'eth0'], /no VIP is given/],
      [['join', '--vip', VIP4], /no interface is given/],
      [['join', '--vip', '192.0.2', '--interface', 'eth0'], /"192\.0\.2" is not an IP address/],
      [['join', ...flags, '--forward', 'vxlan'], /"vxlan" is no mode/],
      [['join', ...flags, '--port', '0'], /"0" is not a port/],
      [['join', ...flags, '--port', '65536'], /is not a port/],
      [['join', ...flags, '--from-balancer', '10.0.0.0/33'], /is not a prefix/],
      [['join', ...flags, '--from-balancer', 'fd00::/x'], /is not a prefix/],
      [['join', ...flags, '--mtu', '1400', '--advmss', '1300'], /either --mtu or --advmss/],
      [['join', ...flags, '--mtu', '20'], /integer/],
      [['join', '--from', '/x'], /go together/],
      [['join', '--as', 'b2'], /go together/],
      [['join', '--from', '/x', '--as', 'b2', '--vip', VIP4], /--vip is what --from says/],
      [['join', ...flags, '--xdp', 'fast'], /auto, native, generic/],
      [['join', ...flags, '--toa-from', '10.0.0.1'], /--toa-from goes with --toa/],
      [['join', ...flags, '--cgroup', '/c'], /--cgroup goes with --toa/],
      [['join', '--toa', '--toa-from', 'balancer'], /is not a prefix/],
      [['join', '--toa', '--forward', 'gue'], /no VIP is given/],
      [['leave', 'now'], /too many arguments/],
    ] as const) {
      const { status, stderr } = linimo(...words)
      t.equal(status, 2, words.join(' '))
      t.match(stderr, message)
    }
  })

  t.test('checked, joined, checked, left: in words and as JSON', { skip }, async t => {
    const { statePath, hasState } = await freshHost(t)
    const before = snapshot()
    const state = ['--state', statePath]

    const wrong = linimo('join', '--check', ...flags)
    t.equal(wrong.status, 1)
    t.match(
      wrong.stdout,
      /^wrong: 192\.0\.2\.10 is not on this host\n {2}ip addr add 192\.0\.2\.10\/32 dev lo/m,
    )
    const asJson = linimo('--json', 'join', '--check', ...flags)
    t.equal(asJson.status, 1)
    t.match(JSON.parse(asJson.stdout), { ok: false, decapsulators: [] })
    t.ok(JSON.parse(asJson.stdout).findings.every((one: object) => 'code' in one && 'hint' in one))
    t.same(snapshot(), before)

    t.match(linimo('join', ...flags, ...state), { status: 0, stdout: /decapsulator on eth0/, stderr: '' })
    t.match(linimo('join', ...flags, ...state), { status: 0, stdout: /^nothing to change/ })
    t.same(JSON.parse(linimo('join', '--json', ...flags, ...state).stdout), {
      changed: [],
      undone: [],
      warnings: [],
    })
    t.match(linimo('join', '--check', ...flags), { status: 0, stdout: /ready as a backend\n$/ })
    t.ok(hasState())
    t.match(linimo('leave', ...state), { status: 0, stdout: /^undone: route/ })
    t.match(linimo('leave', ...state), { status: 0, stdout: 'nothing to undo\n' })
    t.same(snapshot(), before)
  })

  t.test('each network namespace has a record of its own by default', { skip }, async t => {
    await freshHost(t)
    const path = defaultStatePath()
    t.match(path, /^\/run\/linimo\/join-\d+\.json$/)
    t.teardown(() => linimo('leave'))
    t.equal(linimo('join', ...flags).status, 0)
    t.ok(existsSync(path))
    t.equal(linimo('leave').status, 0)
    t.notOk(existsSync(path))
  })

  t.test("the balancer's configuration says what a backend is", { skip }, async t => {
    const { statePath } = await freshHost(t)
    const file = join(dirname(statePath), 'linimo.yaml')
    writeFileSync(file, JSON.stringify(config))
    const from = ['--from', file, '--as']

    t.equal(linimo('join', ...from, 'b2', '--state', statePath).status, 0)
    t.match(linimo('join', '--check', ...from, 'b2'), { status: 0 })
    t.match(
      linimo('join', '--check', ...from, '10.0.0.11'),
      { status: 1 },
      'by an address it is in one service alone',
    )
    const addresses = sh('ip address show dev lo')
    t.match(addresses, /192\.0\.2\.10\/32/)
    t.match(addresses, /2001:db8::10\/128/)
    t.notMatch(addresses, /192\.0\.2\.53/, 'a VIP of services that it is not in')
    t.match(sh('ip route show default; ip -6 route show default'), /advmss 1428 [\s\S]*advmss 1400 /)

    t.match(linimo('join', '--check', ...from, 'b1'), { status: 1, stdout: /no interface has 10\.0\.0\.10/ })
    t.match(linimo('join', ...from, 'b1'), { status: 6, stderr: /no interface has 10\.0\.0\.10/ })
    t.match(linimo('join', ...from, 'b9'), {
      status: 6,
      stderr: /no service has a backend b9\nhint: there are: b1, b2/,
    })
    writeFileSync(file, 'interfaces: eth0\nservices: 7\n')
    t.match(linimo('join', ...from, 'b2'), { status: 3, stderr: /linimo\.yaml:1:13/ })
    t.match(linimo('join', '--from', '/no/such', '--as', 'b2'), { status: 1, stderr: /ENOENT/ })
    linimo('leave', '--state', statePath)
  })

  t.test('without rights it says so, and changes nothing', { skip }, async t => {
    const { statePath, hasState } = await freshHost(t)
    const before = snapshot()
    const state = ['--state', statePath]
    for (const dropped of ['-net_admin', '-bpf,-sys_admin', '-net_admin,-sys_admin,-bpf']) {
      const rights = ['setpriv', '--bounding-set', dropped, '--inh-caps', dropped, '--no-new-privs']
      const { status, stderr } = command(['join', ...flags, ...state], rights)
      t.equal(status, 5, `${dropped}: ${stderr}`)
      t.match(stderr, /hint: run as root/)
      t.same(snapshot(), before)
      t.notOk(hasState())
    }
    sh('mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys')
    t.match(linimo('join', ...flags, ...state), {
      status: 5,
      stderr: /net\.ipv4\.conf\.all\.arp_ignore cannot be changed/,
    })
    sh('umount /proc/sys')
    t.same(snapshot(), before)
    t.notOk(hasState())
    mkdirSync('/tmp/linimo-join-read-only', { recursive: true })
    sh('mount -t tmpfs -o ro tmpfs /tmp/linimo-join-read-only')
    t.teardown(() => sh('umount /tmp/linimo-join-read-only; rmdir /tmp/linimo-join-read-only'))
    t.match(linimo('join', ...flags, '--state', '/tmp/linimo-join-read-only/join.json'), {
      status: 1,
      stderr: /cannot be written \(EROFS\)\nhint: name another file with --state/,
    })
    t.same(snapshot(), before, 'what cannot be recorded is not done')
  })

  t.test('another program on the interface, no interface: exit codes of their own', { skip }, async t => {
    const { statePath } = await freshHost(t)
    const state = ['--state', statePath]
    t.match(linimo('join', '--vip', VIP4, '--interface', 'eth9', ...state), {
      status: 6,
      stderr: /there are: .*eth0/,
    })
    const object = fileURLToPath(new URL('../../build/native/bpf/lab_pass.bpf.o', import.meta.url))
    sh(`ip link set dev eth0 xdpgeneric obj ${object} sec xdp`)
    t.match(linimo('join', ...flags, ...state), {
      status: 7,
      stderr: /another XDP program \(id \d+\) is on eth0/,
    })
  })

  t.test('a unit for systemd joins and leaves with the same words', { skip }, async t => {
    const { statePath } = await freshHost(t)
    const directory = dirname(statePath)
    writeFileSync(join(directory, 'linimo 100%.yaml'), JSON.stringify(config))
    const words = [
      'join',
      '--from',
      `${directory}/linimo 100%.yaml`,
      '--as',
      'b2',
      '--interface',
      'eth0',
      '--state',
      statePath,
    ]
    const { status, stdout } = linimo('--json', ...words, '--systemd')
    t.equal(status, 0)
    t.match(stdout, /^Type=oneshot\nRemainAfterExit=yes\nExecStart=\//m)
    t.match(stdout, /^After=network-online\.target sys-subsystem-net-devices-eth0\.device$/m)
    t.match(stdout, `ExecStop=${process.execPath} ${CLI} leave --state ${statePath}\n`)
    t.match(stdout, /"\/.*\/linimo 100%%\.yaml"/)

    const unit = join(directory, 'linimo-join.service')
    writeFileSync(unit, stdout)
    const verify = (text: string) => {
      writeFileSync(unit, text)
      return spawnSync('systemd-analyze', ['verify', '--man=no', unit], { encoding: 'utf8' })
    }
    if (verify(stdout).error)
      t.pass('systemd finds nothing wrong with it', { skip: 'systemd-analyze is not installed' })
    else {
      t.notMatch(verify(stdout).stderr, /linimo-join/, 'systemd finds nothing wrong with it')
      t.match(verify(stdout.replace('=oneshot', '=once')).stderr, /linimo-join/, 'where it would say so')
      writeFileSync(unit, stdout)
    }

    // What systemd would run, its own quoting undone.
    const start = /^ExecStart=(.*)$/m.exec(readFileSync(unit, 'utf8'))?.[1]?.replaceAll('%%', '%') ?? ''
    const stop = /^ExecStop=(.*)$/m.exec(stdout)?.[1] ?? ''
    const before = snapshot()
    sh(start)
    t.equal(linimo('join', '--check', ...words.slice(1, 7)).status, 0)
    sh(stop)
    t.same(snapshot(), before)
  })

  t.test('relative paths become absolute in the unit', { skip }, async t => {
    const { statePath } = await freshHost(t)
    const file = join(dirname(statePath), 'x.yaml')
    writeFileSync(file, JSON.stringify(config))
    const { stdout } = linimo('join', `--from=.${file}`, '--as', 'b2', '--systemd', '--state=s.json')
    t.match(stdout, ` join --from ${file} --as b2 --state /s.json\n`)
    t.match(stdout, /leave --state \/s\.json/)
  })
}
