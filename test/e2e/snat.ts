/** SNAT: the backends' own connections leave from the pool; what is not configured to passes as it is. */
import { join } from 'node:path'
import t from 'tap'
import { webServer } from '../../src/lab/nginx.js'
import { download, type Site, upload } from '../../src/lab/transfer.js'
import { ADDRESSES, type TranslatedBackend, type TranslatedLab } from '../../src/lab/translated.js'
import { startCapture } from '../fixtures/capture.js'
import { readFlowPackets } from '../fixtures/flow-packets.js'
import { knownMtu } from '../fixtures/path-mtu-site.js'
import { complaintsAboutCapture } from '../fixtures/pcap.js'
import { ask, countVerdicts, inUrl, serve, skip } from '../fixtures/site.js'
import {
  askWho,
  FILE,
  isOfPool,
  isWhole,
  makeTransferFile,
  openTranslatedSite,
  seenBy,
  soundly,
  translatedServices,
  VIP,
  VIP6,
} from '../fixtures/translated-site.js'

const PORT = 8080
const NARROW = 1400
/** b1 and b2 are translated, b3 is not. */
const config = (lab: TranslatedLab) => ({
  interfaces: ['eth0', 'eth1'],
  'local-addresses': lab.balancer.pools,
  snat: lab.inside.slice(0, 2).flatMap(({ address, address6 }) => [`${address}/32`, `${address6}/128`]),
  services: translatedServices(lab.inside, { forward: 'nat' }),
})

/** Whom a server outside sees; the backend asks from this port, if from one of its choice. */
const asks = async (backend: TranslatedBackend, server: string, port?: number): Promise<string> => {
  const from = port === undefined ? [] : ['--local-port', String(port)]
  const url = `http://${inUrl(server)}:${PORT}/who?token=${backend.name}`
  const { stdout, stderr } = await backend.capture(['curl', '-sS', '-m', '5', ...from, url])
  return stdout.trim() || stderr.trim()
}

t.test('SNAT', { skip }, async t => {
  const { lab, daemon } = await openTranslatedSite(t, config, { inside: 3 })
  const { far1, far2, near } = lab.clients
  const [b1, b2, b3] = lab.inside
  makeTransferFile(lab)
  for (const [name, host] of Object.entries({ far1, far2, near })) {
    await webServer(host, name, join(lab.directory, name), lab.files, PORT).start()
    const addresses = ADDRESSES[name as keyof typeof ADDRESSES]
    await serve(host, 'dns-server', name, 53, ...addresses)
  }

  await t.test('outside, the pool is seen: HTTP and DNS, wherever the server is', t =>
    soundly(t, lab, async () => {
      for (const backend of [b1!, b2!])
        for (const name of ['far1', 'far2', 'near'] as const)
          for (const server of ADDRESSES[name]) {
            const [by, address, , token] = (await asks(backend, server)).split(' ')
            t.same([by, token], [name, backend.name], `${backend.name} asks ${server}`)
            t.ok(isOfPool(address ?? ''), `and ${address} is seen`)
            const answers = JSON.parse(await ask(backend, 'dns-ask', server, 10)) as string[]
            t.ok(
              answers.every(text => text.startsWith(`${name} `) && isOfPool(text.split(' ')[1] ?? '')),
              `DNS: ${answers.find(text => !isOfPool(text.split(' ')[1] ?? '')) ?? answers[0]}`,
            )
          }
    }),
  )

  await t.test('two backends by the same port at once', async t => {
    for (const [i, server] of ADDRESSES.far1.entries()) {
      const port = 5555 + i // the last one's rests for a while
      const [one, two] = await Promise.all([asks(b1!, server, port), asks(b2!, server, port)])
      t.match(one, /^far1 \S+ \d+ b1$/)
      t.match(two, /^far1 \S+ \d+ b2$/)
      t.not(one.split(' ').slice(1, 3).join(' '), two.split(' ').slice(1, 3).join(' '), `${one}; ${two}`)
    }
  })

  await t.test('20 MB both ways, and on the wire nobody but the pool', t =>
    soundly(t, lab, async () => {
      const site: Site = seenBy(lab, b1!)
      for (const server of ADDRESSES.far1) {
        const capture = await startCapture(lab.directory, { far1: { host: far1, device: 'eth0' } })
        t.match(await asks(b1!, server), /^far1/)
        const { far1: file } = await capture.end()
        const met = readFlowPackets(file!).flatMap(({ from, to }) => [from.address, to.address])
        t.ok(met.length > 5 && met.every(address => address === server || isOfPool(address)))
        t.same(complaintsAboutCapture(file!), [])
        t.match(await download(site, `${inUrl(server)}:${PORT}`, FILE), isWhole, `${server}, download`)
        t.match(await upload(site, `${inUrl(server)}:${PORT}`, FILE), isWhole, `${server}, upload`)
      }
    }),
  )

  await t.test('a narrow path outside: the backend is told', t =>
    soundly(t, lab, async () => {
      await lab.setMtu('far1', NARROW)
      for (const server of ADDRESSES.far1) {
        t.match(await upload(seenBy(lab, b2!), `${inUrl(server)}:${PORT}`, FILE), isWhole, server)
        t.equal(await knownMtu(b2!, server), NARROW)
      }
      await lab.setMtu('far1', 1500)
    }),
  )

  await t.test('a closed port outside is refused, and so is what UDP asks there', async t => {
    for (const server of ADDRESSES.far1) {
      t.equal(await ask(b1!, 'tcp-connect', server, 4), 'ECONNREFUSED')
      t.equal(await ask(b1!, 'udp-ask', server, 4, 1, 20), '["ECONNREFUSED"]')
    }
  })

  await t.test('what is not translated passes, and the host routes it', async t => {
    await lab.balancer.sysctl({ 'ipv4/ip_forward': 1, 'ipv6/conf/all/forwarding': 1 })
    await lab.gates.gate1.ip('route add 10.2.0.0/24 via 10.1.0.2', 'route add fd00:2::/64 via fd00:1::2')
    t.match(await asks(b3!, ADDRESSES.far1[0]), `far1 ${b3!.address} `)
    t.match(await asks(b3!, ADDRESSES.far1[1]), `far1 ${b3!.address6} `)
    t.match(await asks(b1!, ADDRESSES.far1[0]), /^far1 10\.2\.8\./)
    // Within the prefixes, and with the balancer itself, nothing is translated.
    await serve(lab.balancer, 'udp-echo', 'host', 7777, '10.2.0.2', 'fd00:2::2')
    for (const to of ['10.2.0.2', 'fd00:2::2'])
      t.equal(await ask(b1!, 'udp-ask', to, 7777, 1, 32), '["host"]', to)
  })

  await t.test('and the services go on', async t => {
    for (const vip of [VIP, VIP6]) t.equal((await askWho(far1, vip, 12)).filter(Boolean).length, 12)
    const verdicts = await countVerdicts(daemon)
    t.ok(verdicts.REDIRECT_SNAT && verdicts.REDIRECT_SNAT_REPLY, JSON.stringify(verdicts))
  })
})
