/** NAT where replies do not tell their service, and where they do not come back at all. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { BackendRow } from '../../src/control/protocol.js'
import { ADDRESSES, WEB_PORT } from '../../src/lab/translated.js'
import { PYTHON } from '../fixtures/capture.js'
import { countVerdicts, inUrl, skip, startOn } from '../fixtures/site.js'
import {
  askNames,
  askWho,
  DNS_PORT,
  openTranslated,
  openTranslatedSite,
  rows,
  soundly,
  translatedServices,
  VIP,
  VIP6,
} from '../fixtures/translated-site.js'

const OTHER = '192.0.2.20'
const OTHER6 = '2001:db8::20'

t.test('one port of a backend serves several services', { skip }, async t => {
  const { lab, daemon } = await openTranslatedSite(
    t,
    ({ inside }) => {
      const common = { forward: 'nat', 'ring-size': 251 }
      const services = [
        { name: 'a4', vip: VIP, port: 80, family: 4 },
        { name: 'b4', vip: VIP, port: 81, family: 4 },
        { name: 'c4', vip: OTHER, port: 80, family: 4 },
        { name: 'a6', vip: VIP6, port: 80, family: 6 },
        { name: 'c6', vip: OTHER6, port: 80, family: 6 },
      ] as const
      const web = services.map(({ name, vip, port, family }) => [
        name,
        { ...common, vip, port, backends: rows(inside, family, WEB_PORT) },
      ])
      const dns = services
        .filter(({ port }) => port === 80)
        .map(({ name, vip, family }) => [
          `${name}-dns`,
          { ...common, vip, port: 53, protocol: 'udp', backends: rows(inside, family, DNS_PORT) },
        ])
      return { interfaces: ['eth0', 'eth1'], services: Object.fromEntries([...web, ...dns]) }
    },
    { inside: 1, vips: [VIP, VIP6, OTHER, OTHER6] },
  )
  const { near, far1, far2 } = lab.clients
  await t.test('each is answered as itself', t =>
    soundly(t, lab, async () => {
      for (const [client, index] of [
        [near, 'near'],
        [far1, 'far1'],
        [far2, 'far2'],
      ] as const)
        for (const [vip, port] of [
          [VIP, 80],
          [VIP, 81],
          [OTHER, 80],
          [VIP6, 80],
          [OTHER6, 80],
        ] as const) {
          const own = ADDRESSES[index][vip.includes(':') ? 1 : 0]
          const web = await askWho(client, vip, 6, port)
          t.ok(web.length === 6 && web.every(who => who?.address === own), `${index}, [${vip}]:${port}`)
          if (port !== 80) continue
          const names = await askNames(client, vip, 12)
          t.ok(
            names.every(who => who?.address === own),
            `${index}, DNS of ${vip}`,
          )
        }
    }),
  )
  await t.test(
    "another service by the same port of the client's is refused, and the first goes on",
    async t => {
      const script = `
import errno, socket
def connect(host):
    s = socket.socket()
    s.settimeout(3)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('', 6000))
    try:
        s.connect((host, 80))
        return s
    except OSError as error:
        print(errno.errorcode.get(error.errno, 'silence'))
first = connect('${VIP}')
connect('${OTHER}')
first.sendall(b'GET /who?token=first HTTP/1.0\\r\\n\\r\\n')
answer = b''
while more := first.recv(4096):
    answer += more
print(answer.split()[-1].decode())
`
      const { stdout, stderr } = await far1.capture([PYTHON, '-c', script])
      t.same(stdout.trim().split('\n'), ['ECONNREFUSED', 'first'], stderr)
      t.ok((await countVerdicts(daemon)).TX_EXHAUSTED, 'TX_EXHAUSTED')
    },
  )
})

t.test('a backend whose gateway is another: what it answers is lost, and that is said', { skip }, async t => {
  const lab = await openTranslated(t)
  const [b1] = lab.inside
  await b1!.ip('route replace default via 10.2.0.254', 'route replace ::/0 via fd00:2::fe')
  const daemon = startOn(lab, {
    interfaces: ['eth0', 'eth1'],
    services: translatedServices(lab.inside.slice(0, 1), { forward: 'nat' }),
  })
  await daemon.ready()
  const { far1 } = lab.clients
  for (const vip of [VIP, VIP6]) {
    const { code } = await far1.capture([
      'curl',
      '-sS',
      '-m',
      '2',
      '-o',
      '/dev/null',
      `http://${inUrl(vip)}/`,
    ])
    t.not(code, 0, `${vip}: no connection`)
  }
  let row: BackendRow | undefined
  for (let waited = 0; waited < 12_000; waited += 500) {
    await far1.capture(['curl', '-sS', '-m', '1', '-o', '/dev/null', `http://${VIP}/`])
    row = (await daemon.json<BackendRow[]>('backend', 'list', 'web4'))[0]
    if (row?.reason) break
    await sleep(500)
  }
  t.match(row?.reason, /repl(y|ies)/, `backend list says why: ${JSON.stringify(row)}`)

  await b1!.ip('route replace default via 10.2.0.2', 'route replace ::/0 via fd00:2::2')
  for (const vip of [VIP, VIP6]) t.equal((await askWho(far1, vip, 6)).filter(Boolean).length, 6, vip)
  row = await daemon.until('web4', 'b1', ({ reason }) => reason === null)
  t.equal(row.reason, null)
})
