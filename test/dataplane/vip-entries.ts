import t from 'tap'
import { addressBytes } from '../../src/address.js'
import { Dataplane, shapeFor } from '../../src/dataplane/dataplane.js'
import { serviceFlags } from '../../src/dataplane/layout.js'
import { createServiceTable } from '../../src/dataplane/service-table.js'
import { createTables, type WantedService } from '../../src/dataplane/tables.js'
import { type Ping, type Service, serviceIdentity } from '../../src/model.js'
import { skip } from '../fixtures/native.js'
import { service, WEB, webInTurn } from '../fixtures/web.js'

const SEED = '000102030405060708090a0b0c0d0e0f'
const load = (services: number) =>
  Dataplane.load(shapeFor({ services, backends: 64, slots: 1024 * services, flows: 1024 }, SEED))

const of = (changes: Partial<Service>): WantedService => ({
  ...webInTurn([1]),
  service: { ...service, ...changes },
})

/** What the memory says of pings, by VIP: bytes as bpf/shared.h has them. */
const pings = (dataplane: Dataplane): Record<string, number> => {
  const memory = Buffer.from(dataplane.memory('services'))
  const found: Record<string, number> = {}
  for (let at = 0; at < memory.length; at += 64) {
    const [protocol, state, flags] = memory.subarray(at + 18, at + 21)
    if (state !== 1 || (protocol !== 1 && protocol !== 58)) continue
    t.same([memory.readUInt16BE(at + 16), memory.readUInt32LE(at + 48)], [0, 0xffffffff])
    t.same([memory.readUInt32LE(at + 24), memory.readUInt32LE(at + 28)], [0, 0], 'no ring')
    found[
      `${memory
        .subarray(at, at + 16)
        .toString('hex')
        .replace(/^0{20}f{4}/, '')}/${protocol}`
    ] = flags!
  }
  return found
}
const WEB_VIP = 'c0000201/1'
const OTHER_VIP = '20010db8000000000000000000000001/58'

t.test('a VIP has an entry as long as it has a service', { skip }, async t => {
  const dataplane = await load(8)
  t.teardown(() => dataplane.close())
  const tables = createTables(dataplane, { now: () => 0 })
  const second = of({ port: 443 })
  const six = of({ vip: '2001:db8::1', ping: 'drop' })
  await tables.put([of({})])
  await tables.put([second, six])
  t.same(pings(dataplane), { [WEB_VIP]: 8, [OTHER_VIP]: 16 })
  t.equal(tables.identities().length, 3, 'it is no service')
  t.same([...(await tables.counts()).keys()].sort(), tables.identities().toSorted())

  const change = async (ping: Ping) => {
    await tables.put([of({ ping }), of({ port: 443, ping })])
    return pings(dataplane)[WEB_VIP]
  }
  t.equal(await change('drop'), serviceFlags.SERVICE_PING_DROP)
  t.equal(await change('pass'), 0)
  t.equal(await change('answer'), serviceFlags.SERVICE_PING_ANSWER)

  tables.remove([WEB])
  t.equal(pings(dataplane)[WEB_VIP], 8, 'another service has it')
  tables.remove([serviceIdentity(second.service)])
  t.same(pings(dataplane), { [OTHER_VIP]: 16 })
  tables.remove([serviceIdentity(six.service)])
  t.same(pings(dataplane), {})
})

t.test('a process that finds the tables goes on with them', { skip }, async t => {
  const dataplane = await load(8)
  t.teardown(() => dataplane.close())
  await createTables(dataplane, { now: () => 0 }).put([of({ ping: 'drop' })])
  // A VIP whose service was removed by a process that ended before it came to the VIP.
  const stray = {
    addr: addressBytes('2001:db8::1'),
    port: 0,
    protocol: 58,
    flags: 8,
    idle: 0,
    ringBase: 0,
    ringSize: 0,
    hashSeed: 0n,
    hashMask: 0n,
    id: 0xffff_ffff,
  }
  createServiceTable(dataplane.memory('services'), dataplane.serviceSeed, 0, () => 0).put(stray)
  t.same(pings(dataplane), { [WEB_VIP]: 16, [OTHER_VIP]: 8 })

  const tables = createTables(dataplane, { now: () => 0 })
  t.same(tables.identities(), [WEB])
  t.same(pings(dataplane), { [WEB_VIP]: 16 }, 'the other one is the host’s alone')
  await tables.put([of({ ping: 'answer' })])
  t.same(pings(dataplane), { [WEB_VIP]: 8 })
  tables.remove([WEB])
  t.same(pings(dataplane), {})
})

t.test(
  'there is room for as many services as were asked for, each with a VIP of its own',
  { skip },
  async t => {
    const dataplane = await load(64)
    t.teardown(() => dataplane.close())
    const before = dataplane.tag
    const tables = createTables(dataplane, { now: () => 0 })
    const vips = Array.from({ length: 64 }, (_, i) => `192.0.2.${i + 1}`)
    for (const vip of vips)
      await tables.put([{ ...of({ vip }), backends: [], owners: new Int32Array(251).fill(-1) }])
    t.equal(dataplane.shape.services, 64)
    t.equal(dataplane.shape.serviceBuckets, 1024)
    t.equal(Object.keys(pings(dataplane)).length, 64)
    t.equal(dataplane.tag, before)

    const more = of({ vip: '198.51.100.1' })
    await tables.put([{ ...more, backends: [], owners: new Int32Array(251).fill(-1) }])
    t.match(dataplane.shape, { services: 128, serviceBuckets: 2048 })
    t.equal(Object.keys(pings(dataplane)).length, 65, 'all of them moved along')
  },
)

t.test('a SYN’s MSS is clamped where that is asked for', { skip }, async t => {
  const dataplane = await load(8)
  t.teardown(() => dataplane.close())
  const tables = createTables(dataplane, { now: () => 0 })
  const flags = () =>
    createServiceTable(dataplane.memory('services'), 0, 0, () => 0)
      .entries()
      .find(({ protocol }) => protocol === 6)!.flags & serviceFlags.SERVICE_CLAMP_MSS
  await tables.put([of({})])
  t.equal(flags(), 0)
  await tables.put([of({ mss: 'clamp' })])
  t.equal(flags(), serviceFlags.SERVICE_CLAMP_MSS)
})
