/** Local addresses, the interfaces' own, and neighbours that are wanted, of the real kernel and by its events. */
import t from 'tap'
import { addressBytes, addressText } from '../src/address.js'
import { systemClock } from '../src/health/clock.js'
import { createInterfaceAddresses } from '../src/interface-addresses.js'
import { createLocalAddresses } from '../src/local-addresses-followed.js'
import { createNextHops } from '../src/next-hops.js'
import { createWantedNeighbours } from '../src/wanted-neighbours.js'
import { keepLog } from './control/fixtures/daemon.js'
import { ifindexOf, otherNamespace, run, until } from './fixtures/host.js'
import { inOwnNamespaces, native } from './fixtures/native.js'

if (inOwnNamespaces(t, import.meta.url)) {
  run('ip link set lo up')
  const other = await otherNamespace(t)
  run('ip link add one type veth peer name two')
  t.teardown(() => run('ip link delete one'))
  run(`ip link set two netns ${other.pid}`)
  other.run('ip link set two address 02:00:00:00:00:07')
  other.run('ip addr add 10.1.0.7/24 dev two')
  other.run('ip -6 addr add fd00:1::7/64 dev two nodad')
  other.run('ip link set two up')
  run('ip link set one up')
  run('ip addr add 10.1.0.2/24 dev one')
  run('ip -6 addr add fd00:1::2/64 dev one nodad')
  const one = ifindexOf('one')

  const netlink = new native.Netlink()
  const nextHops = await createNextHops({
    netlink,
    entry: links => links[0],
    onChange: () => {},
    log: keepLog(),
    probe: true,
  })
  t.teardown(() => nextHops.close())
  const local = createLocalAddresses({
    netlink,
    tables: () => nextHops.tables,
    onChange: () => {},
    log: keepLog(),
  })
  nextHops.accompany(local)
  const addresses = await createInterfaceAddresses(
    netlink,
    nextHops,
    () => new Set(),
    () => {},
    error => t.fail(String(error)),
  )

  const pool = ['10.1.0.100', '10.9.0.1', '10.9.0.2', 'fd00:1::100', 'fd00:9::1']
  const usable = (): string => local.usable(pool).join(' ')

  t.test(
    "an address on the link is not used until it is the host's; one beyond is, and that is said",
    async t => {
      await local.follow(pool)
      t.equal(usable(), '10.9.0.1 10.9.0.2 fd00:9::1')
      t.same(
        local.findings().map(({ address, isUsable }) => [address, isUsable]),
        pool.map(address => [address, !address.includes('1.0.100') && address !== 'fd00:1::100']),
      )
      // What the findings say is what helps.
      for (const { text } of local.findings()) {
        const [, remedy] = /(ip (?:-6 )?(?:route|addr) add .*)$/.exec(text)!
        run(remedy!.replace('DEVICE', 'one'))
      }
      await until("they are this host's", () => local.findings().length === 0)
      t.equal(usable(), pool.join(' '))
    },
  )

  t.test('a neighbour on the link gets an answer to who has an address that a finding was about', async t => {
    for (const [address, ping] of [
      ['10.1.0.100', 'ping -c1 -W5 10.1.0.100'],
      ['fd00:1::100', 'ping -6 -c1 -W5 fd00:1::100'],
    ] as const)
      t.match(other.run(ping), /1 received/, address)
  })

  t.test('prefixes are as good as addresses, and what is taken away is followed', async t => {
    run('ip route del local 10.1.0.100 dev lo')
    await until("it is not this host's", () => !local.usable(pool).includes('10.1.0.100'))
    t.match(local.lacking(['10.1.0.100'], 4), /on the link of one, where nobody answers/)
    run('ip route add local 10.1.0.96/28 dev lo')
    await until('it is again', () => local.usable(pool).includes('10.1.0.100'))
    t.equal(local.lacking(['10.1.0.100'], 4), null)
  })

  t.test('what is said of prefixes is what helps, too', async t => {
    const prefixes = ['10.1.0.32/30', '10.9.1.0/30', 'fd00:9:1::/126', 'fd00:1::40/126']
    const all = prefixes.flatMap(prefix => {
      const [, net, last] = /^(.*[.:])(\d*)\/\d+$/.exec(prefix)!
      return [0, 1, 2, 3].map(i => (last === '' && i === 0 ? net! : `${net}${Number(last) + i}`))
    })
    await local.follow(all, prefixes)
    t.same(
      local.findings().map(({ address, addresses }) => [address, addresses.length]),
      prefixes.map(prefix => [prefix, 4]),
    )
    for (const { text } of local.findings()) run(/(ip (?:-6 )?route add .*)$/.exec(text)![1]!)
    await until("they are this host's", () => local.findings().length === 0)
    t.match(other.run('ping -c1 -W5 10.1.0.34'), /1 received/, 'the link is answered for an IPv4 prefix')
    other.run('ip -6 route add fd00:1::40/126 via fd00:1::2')
    t.match(other.run('ping -6 -c1 -W5 fd00:1::42'), /1 received/, 'an IPv6 prefix is routed here')
    await local.follow(pool)
  })

  t.test('an interface has its own primary address, and then the next', async t => {
    const texts = (): string => {
      const { addr4, addr6 } = addresses.of(one)
      const bytes = new Uint8Array(4)
      new DataView(bytes.buffer).setUint32(0, addr4)
      return `${addressText(bytes)} ${addressText(addr6)}`
    }
    await until('the first', () => texts().startsWith('10.1.0.2 fd00:'))
    run('ip addr add 10.7.0.1/24 dev one')
    run('ip addr del 10.1.0.2/24 dev one')
    await until('the second', () => texts().startsWith('10.7.0.1 fd00:'))
    run('ip addr add 10.1.0.2/24 dev one')
    t.pass()
  })

  t.test('a client that the data plane wants has its neighbour entry, and keeps it', async t => {
    const wanted = new Set(['10.1.0.7', 'fd00:1::7'])
    const neighbours = createWantedNeighbours({
      map: () => ({
        lookupBatch: async () => ({
          count: wanted.size,
          keys: Uint8Array.from([...wanted].flatMap(address => [...addressBytes(address)])),
          values: new Uint8Array(16 * wanted.size),
        }),
        delete: key => void wanted.delete(addressText(key)),
      }),
      netlink,
      nextHops,
      clock: systemClock,
    })
    t.teardown(() => neighbours.close())
    run('ip neigh flush dev one')
    neighbours.use(true)
    const isKnown = (address: string): boolean =>
      run(`ip neigh show ${address} dev one`).includes('02:00:00:00:00:07')
    for (const address of ['10.1.0.7', 'fd00:1::7']) await until(address, () => isKnown(address))
    t.equal(wanted.size, 0)
    run('ip neigh del 10.1.0.7 dev one')
    await until('it is asked again', () => isKnown('10.1.0.7'))
    t.pass()
  })
}
