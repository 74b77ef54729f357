/** Servers as they are, behind connections that a FULLNAT balancer makes: whom they are told of. */
import t, { type Test } from 'tap'
import { addressText, shortAddressBytes } from '../../src/address.js'
import { skip } from '../fixtures/site.js'
import {
  BACKEND4,
  BACKEND6,
  type HandMade,
  LOCAL4,
  LOCAL6,
  type Opening,
  openToaSite,
  STRANGER4,
  STRANGER6,
  type ToaSite,
} from '../fixtures/toa-site.js'

const CLIENT4 = '198.51.100.7'
const CLIENT6 = '2001:db8:cafe::7'
const PORT = 4321
const BELIEVED = ['--toa-from', `${LOCAL4},${LOCAL6}`]

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const word = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')

/** TCP option 254 as a balancer sends it, in hex. */
const toa = (address: string, port = PORT): string => {
  const bytes = shortAddressBytes(address)
  return `fe${word(4 + bytes.length, 2)}${word(port, 4)}${hex(bytes)}`
}
const NOP = '01'
/** MSS 1460, SACK permitted, timestamps, NOP, window scale 7: what a Linux client's SYN has. */
const USUAL_SYN = '020405b4' + '0402' + '080a0000000100000000' + '01' + '030307'

interface Told {
  readonly accept: readonly [address: string, port: number]
  readonly getpeername: readonly [address: string, port: number]
}

const toldOf = async (connection: HandMade, options = ''): Promise<Told> =>
  JSON.parse(await connection.send('who\n', options))

const client = (address: string, port = PORT): Told => ({
  accept: [address, port],
  getpeername: [address, port],
})

/** One connection to a server that tells; without the options of `opening` it is the balancer's. */
const ask = async (site: ToaSite, opening: Opening, options = ''): Promise<{ told: Told; own: Told }> => {
  const connection = await site.open(opening)
  const told = await toldOf(connection, options)
  await connection.close()
  return { told, own: client(opening.source, connection.port) }
}

const TELL = 7000
const tell4 = { source: LOCAL4, destination: BACKEND4, to: TELL } as const
const tell6 = { source: LOCAL6, destination: BACKEND6, to: TELL } as const

const openWithServers = async (t: Test): Promise<ToaSite> => {
  const site = await openToaSite(t)
  await site.join(...BELIEVED)
  await site.serve(BACKEND4, TELL)
  await site.serve(BACKEND6, TELL)
  return site
}

const countsOf = async (site: ToaSite): Promise<Record<string, number>> => {
  const { stdout } = await site.linimo('join', '--check', '--json', ...BELIEVED)
  return JSON.parse(stdout).toa.counts
}

t.test('nginx logs the clients', { skip }, async t => {
  const site = await openToaSite(t)
  await site.join(...BELIEVED)
  await site.web.start()
  const get = async (path: string, opening: Omit<Opening, 'to'>) => {
    const connection = await site.open({ to: 80, ...opening })
    const answer = await connection.send(`GET ${path} HTTP/1.0\r\n\r\n`)
    t.match(answer, /^HTTP\/1\.1 200 /, path)
    await connection.close()
    return connection.port
  }
  const by4 = { source: LOCAL4, destination: BACKEND4 }
  const by6 = { source: LOCAL6, destination: BACKEND6 }
  await get('/syn', { ...by4, syn: USUAL_SYN + toa(CLIENT4) })
  await get('/ack', { ...by4, ack: toa(CLIENT4) })
  const none4 = await get('/none', by4)
  await get('/syn6', { ...by6, syn: USUAL_SYN + toa(CLIENT6) })
  await get('/ack6', { ...by6, ack: NOP + NOP + toa(CLIENT6) })
  await get('/crossed', { ...by6, syn: toa(CLIENT4) })
  const none6 = await get('/none6', by6)
  t.same(
    site.web
      .served()
      .filter(({ path }) => path !== '/healthz')
      .map(({ path, client, clientPort }) => [path, client, clientPort]),
    [
      ['/syn', CLIENT4, PORT],
      ['/ack', CLIENT4, PORT],
      ['/none', LOCAL4, none4],
      ['/syn6', CLIENT6, PORT],
      ['/ack6', CLIENT6, PORT],
      ['/crossed', `::ffff:${CLIENT4}`, PORT],
      ['/none6', LOCAL6, none6],
    ],
  )
})

t.test(
  'accept() and getpeername() say the same, wherever the handshake has the option',
  { skip },
  async t => {
    const site = await openWithServers(t)
    for (const [opening, address] of [
      [tell4, CLIENT4],
      [tell6, CLIENT6],
      [tell6, `::ffff:${CLIENT4}`],
    ] as const)
      for (const place of ['syn', 'ack'] as const) {
        const option = toa(addressText(shortAddressBytes(address)))
        const title = `${opening.destination} is told of ${address} by the ${place}`
        t.same((await ask(site, { ...opening, [place]: option })).told, client(address), title)
        t.same((await ask(site, { ...opening, [place]: NOP + NOP + NOP + option })).told, client(address))
      }
    t.same(
      (await ask(site, { ...tell4, syn: toa(CLIENT4), ack: toa('203.0.113.9', 9) })).told,
      client(CLIENT4),
      'the SYN has the first word',
    )
    for (const port of [1, 63881, 58068, 65535])
      for (const place of ['syn', 'ack'] as const)
        t.same(
          (await ask(site, { ...tell4, [place]: toa(CLIENT4, port) })).told,
          client(CLIENT4, port),
          `port ${port}, of the ${place}: others' use of the option begins with such`,
        )
    const { TOA_FROM_SYN, TOA_FROM_HANDSHAKE } = await countsOf(site)
    t.same([TOA_FROM_SYN, TOA_FROM_HANDSHAKE], [6 + 1 + 4, 6 + 4])
  },
)

t.test('an option in a later packet is for whoever asks later', { skip }, async t => {
  const site = await openWithServers(t)
  for (const [opening, address] of [
    [tell4, CLIENT4],
    [tell6, CLIENT6],
  ] as const) {
    const connection = await site.open(opening)
    const own = [opening.source, connection.port]
    t.same(await toldOf(connection), { accept: own, getpeername: own })
    t.same(await toldOf(connection, toa(address, 63881)), { accept: own, getpeername: [address, 63881] })
    t.same(
      await toldOf(connection, toa(STRANGER4, 5)),
      { accept: own, getpeername: [address, 63881] },
      'the first is the last word',
    )
    await connection.close()
  }
  const late = await site.open(tell4)
  for (let packet = 0; packet < 10; packet++) await toldOf(late)
  t.same((await toldOf(late, toa(CLIENT4))).getpeername, [LOCAL4, late.port], 'not in the tenth')
  await late.close()
  t.match(await countsOf(site), { TOA_FROM_LATER: 2, TOA_ABSENT: 3 })
})

t.test('nothing, or nothing that is understood: the balancer’s own address', { skip }, async t => {
  const site = await openWithServers(t)
  for (const opening of [tell4, tell6]) {
    const { told, own } = await ask(site, opening)
    t.same(told, own)
  }
  const bad: readonly (readonly [what: string, options: string])[] = [
    ['length 0', `fe00${toa(CLIENT4).slice(4)}`],
    ['length 1', `fe01${toa(CLIENT4).slice(4)}`],
    ['length 2', 'fe020101'],
    ['length 7', `fe07${word(PORT, 4)}c6336401`],
    ['length 9', `fe09${word(PORT, 4)}c633640701010101`],
    ['length 19', `fe13${toa(CLIENT6).slice(4, -2)}01`],
    ['length 21', `fe15${toa(CLIENT6).slice(4)}01010101`],
    ['cut behind the kind', '010101fe'],
    ['cut behind the length', '0101fe08'],
    ['cut behind the port', `fe08${word(PORT, 4)}`],
    ['an IPv6 one, cut', `fe14${word(PORT, 4)}${'20010db8'.repeat(3)}`],
    ['behind the end of the list', `00010101${toa(CLIENT4)}`],
    ['inside another option', `fd0a${toa(CLIENT4)}0101`],
    ['behind an option of no length', `05000101${toa(CLIENT4)}`],
    ['an option of another kind', `fd08${toa(CLIENT4).slice(4)}`],
  ]
  for (const opening of [tell4, tell6])
    for (const place of ['syn', 'ack'] as const)
      for (const [what, options] of bad) {
        const { told, own } = await ask(site, { ...opening, [place]: options })
        t.same(told, own, `${what}, in the ${place} to ${opening.destination}`)
      }
  for (const [what, options] of [
    ['length 4', 'fe041234'],
    ['TFO, experimental', 'fe04f989'],
    ['SMC', 'fe06e2d4c3d90101'],
  ] as const)
    t.same(
      (await ask(site, { ...tell4, syn: options + toa(CLIENT4) })).told,
      client(CLIENT4),
      `somebody else's option of the kind is passed by: ${what}`,
    )
  const { TOA_MALFORMED, TOA_ABSENT, ...rest } = await countsOf(site)
  t.same(rest, { TOA_FROM_SYN: 3 })
  t.ok(TOA_MALFORMED! >= 4 * 7 && TOA_ABSENT! > 4, `${TOA_MALFORMED} malformed, ${TOA_ABSENT} absent`)
})

t.test('only balancers are believed', { skip }, async t => {
  const site = await openWithServers(t)
  for (const [opening, address] of [
    [{ ...tell4, source: STRANGER4 }, CLIENT4],
    [{ ...tell6, source: STRANGER6 }, CLIENT6],
  ] as const)
    for (const place of ['syn', 'ack'] as const) {
      const { told, own } = await ask(site, { ...opening, [place]: toa(address) })
      t.same(told, own, `${opening.source}, ${place}`)
    }
  const later = await site.open({ ...tell4, source: STRANGER4 })
  t.same((await toldOf(later, toa(CLIENT4))).getpeername, [STRANGER4, later.port])
  await later.close()
  t.same(await countsOf(site), { TOA_OTHER_SOURCE: 5 })

  await site.join('--toa-from', '10.0.0.0/25,fd00:10::/64')
  t.same((await ask(site, { ...tell6, source: STRANGER6, syn: toa(CLIENT6) })).told, client(CLIENT6))
  t.same((await ask(site, { ...tell4, source: STRANGER4, syn: toa(CLIENT4) })).told, client(CLIENT4))
  await site.join()
  t.same((await ask(site, { ...tell4, source: STRANGER4, ack: toa(CLIENT4) })).told, client(CLIENT4))
})

t.test('a socket of both families; one of IPv4, which has no word for IPv6', { skip }, async t => {
  const site = await openToaSite(t)
  await site.join(...BELIEVED)
  await site.serve('::', TELL, 'dual')
  for (const place of ['syn', 'ack'] as const) {
    t.same((await ask(site, { ...tell4, [place]: toa(CLIENT4) })).told, client(`::ffff:${CLIENT4}`))
    t.same((await ask(site, { ...tell4, [place]: toa(CLIENT6) })).told, client(CLIENT6))
    t.same((await ask(site, { ...tell6, [place]: toa(CLIENT6) })).told, client(CLIENT6))
    const { told, own } = await ask(site, { ...tell4, source: STRANGER4, [place]: toa(CLIENT4) })
    t.same(told, client(`::ffff:${STRANGER4}`, own.accept[1]))
  }
  await site.serve(BACKEND4, TELL + 1)
  const { told, own } = await ask(site, { ...tell4, to: TELL + 1, syn: toa(CLIENT6) })
  t.same(told, own)
})

t.test('servers that listened before; SYN cookies', { skip }, async t => {
  const site = await openToaSite(t)
  await site.serve(BACKEND4, TELL)
  await site.join(...BELIEVED)
  const syn = await ask(site, { ...tell4, syn: toa(CLIENT4) })
  t.same(syn.told, syn.own, 'they have not kept the SYN')
  t.same((await ask(site, { ...tell4, ack: toa(CLIENT4) })).told, client(CLIENT4))

  await site.serve(BACKEND4, TELL + 1)
  await site.backend.sysctl({ 'ipv4/tcp_syncookies': 2 })
  const to = TELL + 1
  const cookie = await ask(site, { ...tell4, to, syn: toa(CLIENT4) })
  t.same(cookie.told, cookie.own, 'nothing is kept of a SYN that is answered by a cookie')
  t.same((await ask(site, { ...tell4, to, ack: toa(CLIENT4) })).told, client(CLIENT4))
})

t.test('a server with TCP Fast Open', { skip }, async t => {
  const site = await openToaSite(t)
  await site.backend.sysctl({ 'ipv4/tcp_fastopen': 3 })
  await site.join(...BELIEVED)
  await site.serve(BACKEND4, TELL, 'fastopen')
  for (const [port, cookie] of [
    [PORT, false],
    [63881, true],
  ] as const) {
    const connection = await site.open({ ...tell4, syn: toa(CLIENT4, port) })
    t.equal(/fe..f989/.test(connection.options), cookie, `port ${port}: ${connection.options}`)
    t.same(await toldOf(connection), client(CLIENT4, port))
    await connection.close()
  }
})

t.test('join again keeps what is known; leave gives it up', { skip }, async t => {
  const site = await openWithServers(t)
  const connection = await site.open({ ...tell4, syn: toa(CLIENT4) })
  t.same(await toldOf(connection), client(CLIENT4))
  await site.join('--toa-from', '10.0.0.0/8')
  t.same(await toldOf(connection), client(CLIENT4))
  t.equal((await site.linimo('leave')).code, 0)
  const { accept, getpeername } = await toldOf(connection)
  t.same(
    [accept, getpeername],
    [
      [CLIENT4, PORT],
      [LOCAL4, connection.port],
    ],
  )
  await connection.close()
  for (const place of ['syn', 'ack'] as const) {
    const { told, own } = await ask(site, { ...tell4, [place]: toa(CLIENT4) })
    t.same(told, own)
  }
})
