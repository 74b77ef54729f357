/** What a tunnelled backend's record says, byte by byte; and whom its packets count for when its mode changes. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { addressBytes } from '../../src/address.js'
import { Dataplane, shapeFor } from '../../src/dataplane/dataplane.js'
import { outerSource, type Tunnel } from '../../src/dataplane/encapsulation.js'
import { createTables, type NextHop, type WantedBackend } from '../../src/dataplane/tables.js'
import type { TunnelForward } from '../../src/model.js'
import { mountBpffs } from '../fixtures/host.js'
import { inOwnNamespaces, native, skip } from '../fixtures/native.js'
import { service, WEB } from '../fixtures/web.js'

const SEED = '000102030405060708090a0b0c0d0e0f'

const nextHop: NextHop = {
  ifindex: 1,
  mac: Uint8Array.of(2, 0, 0, 0, 0, 0x0c),
  sourceMac: Uint8Array.of(2, 0, 0, 0, 0, 0xfe),
  mtu: 1500,
  source: addressBytes('10.0.0.2'),
}
const tunnel = (forward: TunnelForward, source: string | null = null): Tunnel => ({
  forward,
  source: source === null ? null : outerSource(source),
})
const gue = tunnel({ mode: 'gue', port: 6080, variant: 0 })

interface WantedOptions {
  readonly address?: string
  readonly way?: NextHop | null
}

const wanted = (one: Tunnel | null, { address = '10.0.0.1', way = nextHop }: WantedOptions = {}) => ({
  service,
  owners: new Int32Array(251),
  backends: [
    {
      identity: address.includes(':') ? `[${address}]:80` : `${address}:80`,
      address,
      port: 80,
      nextHop: way,
      tunnel: one,
      isDead: false,
      isDraining: false,
    } satisfies WantedBackend,
  ],
})

const load = async (t: Test) => {
  const dataplane = await Dataplane.load(
    shapeFor({ services: 2, backends: 8, slots: 1024, flows: 1024 }, SEED, { interfaces: 16 }),
  )
  t.teardown(() => dataplane.close())
  return { dataplane, tables: createTables(dataplane, { now: () => 0 }) }
}

/** From the mode on, of the first backend's record. */
const recordOf = (dataplane: Dataplane) => {
  const record = Buffer.from(dataplane.memory('backends')).subarray(64, 128)
  const hex = (from: number, to: number) => record.subarray(from, to).toString('hex')
  return {
    mode: record[16],
    flags: record[17],
    mtu: record.readUInt16LE(18),
    spread: record[21],
    key: hex(28, 32),
    address: hex(32, 48),
    source: hex(48, 64),
  }
}

const MAPPED = '00000000000000000000ffff'
const v4 = { address: `${MAPPED}0a000001`, source: `${MAPPED}0a000002` }
const RESOLVED = 1

t.test(
  'the record has the mode, its key or port, the longest packet, and both addresses',
  { skip },
  async t => {
    const { dataplane, tables } = await load(t)
    for (const [one, record] of [
      [null, { mode: 1, mtu: 1500, key: '00000000', ...v4, source: '0'.repeat(32) }],
      [tunnel({ mode: 'ipip' }), { mode: 2, mtu: 1480, key: '00000000', ...v4 }],
      [tunnel({ mode: 'gre', key: null }), { mode: 3, mtu: 1476, key: '00000000', ...v4 }],
      [tunnel({ mode: 'gre', key: 258 }), { mode: 3, flags: 16, mtu: 1472, key: '00000102', ...v4 }],
      [gue, { mode: 4, mtu: 1468, key: '17c00000', ...v4 }],
      [
        tunnel({ mode: 'gue', port: 5555, variant: 1 }, '10.9.0.0/16'),
        {
          mode: 4,
          flags: 32,
          mtu: 1472,
          spread: 16,
          key: '15b30000',
          ...v4,
          source: `${MAPPED}0a090000`,
        },
      ],
    ] as const) {
      await tables.put([wanted(one)])
      const flags = RESOLVED | ('flags' in record ? record.flags : 0)
      t.same(recordOf(dataplane), { spread: 0, ...record, flags }, JSON.stringify(one?.forward))
    }
    t.same(tables.backendOf(1), { service: WEB, identity: '10.0.0.1:80' })
    t.equal(tables.backendOf(2), null, 'it is the same backend all along')
  },
)

t.test('an IPv6 outer header is longer, and its prefix has more to give', { skip }, async t => {
  const { dataplane, tables } = await load(t)
  await tables.put([wanted(tunnel({ mode: 'ipip' }, '2001:db8:9::/64'), { address: '2001:db8::1' })])
  t.match(recordOf(dataplane), {
    mode: 2,
    mtu: 1460,
    spread: 64,
    address: '20010db8000000000000000000000001',
    source: '20010db8000900000000000000000000',
  })
})

t.test('a path MTU that is learnt, and a source that is not, change the record', { skip }, async t => {
  const { dataplane, tables } = await load(t)
  await tables.put([wanted(gue)])
  await tables.put([wanted(gue, { way: { ...nextHop, mtu: 1400 } })])
  t.match(recordOf(dataplane), { flags: RESOLVED, mtu: 1368 })
  await tables.put([wanted(gue, { way: { ...nextHop, source: null } })])
  t.match(recordOf(dataplane), { flags: 0, mode: 4 }, 'no packet leaves without a source')
  await tables.put([wanted(tunnel(gue.forward, '10.0.0.9'), { way: { ...nextHop, source: null } })])
  t.match(recordOf(dataplane), { flags: RESOLVED, source: `${MAPPED}0a000009` })
  await tables.put([wanted(gue, { way: null })])
  t.match(recordOf(dataplane), { flags: 0, mode: 4 })
})

if (inOwnNamespaces(t, import.meta.url)) {
  t.test('no total goes back when a backend is forwarded to in another way, or goes', async t => {
    const pinDir = join(mountBpffs(t), 'main')
    const shape = shapeFor({ services: 2, backends: 4, slots: 4096, flows: 1024 }, SEED)
    const open = async () => {
      const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
      const dataplane = await Dataplane.open({ pinDir, shape, log })
      if (dataplane.inheritedMode(1) === null) await dataplane.attach(1, 'generic')
      else await dataplane.takeOver(1)
      await dataplane.settle()
      return { dataplane, tables: createTables(dataplane, { now: () => 0 }) }
    }
    let { dataplane, tables } = await open()
    /** As if the data plane had sent so many packets of 100 bytes by the interface they came in. */
    const forwarded = (packets: number): void => {
      const generation = readdirSync(pinDir).find(name => /^\d+$/.test(name))!
      const map = native.BpfMap.openPinned(join(pinDir, generation, 'maps', 'backend_counts'))
      const key = new Uint8Array(Uint32Array.of(1).buffer)
      const words = new BigUint64Array(map.lookup(key).slice().buffer)
      words[0]! += BigInt(packets)
      words[1]! += BigInt(100 * packets)
      map.update(key, new Uint8Array(words.buffer))
      map.close()
    }
    const told = async () => {
      const verdicts = await dataplane.counts.verdicts()
      const of = (name: 'TX_DR' | 'TX_IPIP' | 'TX_GRE' | 'TX_GUE') => {
        const { packets, bytes } = verdicts.get(name)!
        t.equal(bytes, 100n * packets, `bytes of ${name}`)
        return Number(packets)
      }
      const counts = (await tables.counts()).get(WEB)
      const own = counts && [...counts.backends.values()].map(({ tx }) => Number(tx.packets))
      return { dr: of('TX_DR'), ipip: of('TX_IPIP'), gre: of('TX_GRE'), gue: of('TX_GUE'), own }
    }
    await tables.put([wanted(null)])
    forwarded(5)
    t.same(await told(), { dr: 5, ipip: 0, gre: 0, gue: 0, own: [5] })
    await tables.put([wanted(tunnel({ mode: 'ipip' }))])
    t.same(await told(), { dr: 5, ipip: 0, gre: 0, gue: 0, own: [5] })
    forwarded(7)
    t.same(await told(), { dr: 5, ipip: 7, gre: 0, gue: 0, own: [12] })
    await tables.put([wanted(gue)])
    forwarded(3)
    const after = { dr: 5, ipip: 7, gre: 0, gue: 3 }
    t.same(await told(), { ...after, own: [15] })

    await dataplane.release()
    ;({ dataplane, tables } = await open())
    t.same(await told(), { ...after, own: [15] }, 'after a restart')
    await dataplane.reshape({ ...dataplane.shape, backends: 64 }, next => {
      new BigUint64Array(next.memory('backends')).set(new BigUint64Array(dataplane.memory('backends')))
    })
    t.same(await told(), { ...after, own: [15] }, 'in larger maps')
    tables.remove([WEB])
    t.same(await told(), { ...after, own: undefined }, 'when it has gone')
    await dataplane.close()
  })
} else if (skip) {
  t.test('totals', { skip }, async () => {})
}
