import fc from 'fast-check'
import t from 'tap'
import { addressBytes } from '../../src/address.js'
import { prefixLayout, replyLayout, serviceState } from '../../src/dataplane/layout.js'
import { writeNatSources } from '../../src/dataplane/nat-sources.js'
import { serviceBucket } from '../../src/dataplane/open-table.js'
import { createReplies, createReplyTable, type NatBackend } from '../../src/dataplane/replies.js'
import { l4Delta } from '../../src/dataplane/sum-delta.js'

const SEED = 4711
const BUCKETS = 256
const PROBES = 4

const end = (address: string, port: number) => ({ addr: addressBytes(address), port })
const nat = (id: number, address: string, port: number, vip: string): NatBackend => ({
  id,
  backend: end(address, port),
  protocol: 6,
  vip: end(vip, port === 0 ? 0 : 80),
})

/** The data plane's way of looking: the port's own entry, then that of every port. */
const lookUp = (memory: ArrayBuffer, address: string, port: number, protocol = 6) => {
  const addr = addressBytes(address)
  for (const one of [port, 0]) {
    const home = serviceBucket({ addr, port: one, protocol }, SEED, BUCKETS - 1)
    for (let probe = 0; probe < PROBES; probe++) {
      const found = replyLayout.decode(new Uint8Array(memory), ((home + probe) % BUCKETS) * replyLayout.size)
      if (found.state === serviceState.SERVICE_EMPTY) break
      const isIt = found.port === one && found.protocol === protocol && Buffer.compare(found.addr, addr) === 0
      if (found.state === serviceState.SERVICE_USED && isIt) return found
    }
  }
  return null
}

const open = () => {
  let now = 0
  const memory = new ArrayBuffer(BUCKETS * replyLayout.size)
  const flows = new Set<number>()
  const replies = createReplies(
    createReplyTable(memory, SEED, 100, () => now),
    new Map(),
    (id, byFlow) => void (byFlow ? flows.add(id) : flows.delete(id)),
  )
  return {
    memory,
    flows,
    replies,
    pass: () => {
      now += 1000
    },
  }
}

t.test('a backend’s replies become its VIP’s', async t => {
  const { memory, replies, flows } = open()
  const one = nat(3, '10.0.0.1', 8080, '192.0.2.1')
  t.ok(replies.setNat(0, [one]))
  t.match(lookUp(memory, '10.0.0.1', 8080), {
    id: 3,
    byFlow: 0,
    vip: addressBytes('192.0.2.1'),
    vipPort: 80,
    l4Delta: l4Delta(one.backend, one.vip),
  })
  t.equal(lookUp(memory, '10.0.0.1', 81), null)
  t.equal(lookUp(memory, '10.0.0.2', 8080), null)
  replies.setNat(0, [])
  t.equal(lookUp(memory, '10.0.0.1', 8080), null)
  t.equal(flows.size, 0)
})

t.test('a port that two services have is told by the flow as long as it is', async t => {
  const { memory, replies, flows } = open()
  const [one, other] = [nat(3, '10.0.0.1', 80, '192.0.2.1'), nat(4, '10.0.0.1', 80, '192.0.2.2')]
  replies.setNat(0, [one])
  t.notOk(replies.wouldBeByFlow(new Map([[0, [one]]])))
  t.ok(replies.wouldBeByFlow(new Map([['new', [other]]])))
  t.notOk(
    replies.wouldBeByFlow(
      new Map<number | string, NatBackend[]>([
        [0, []],
        ['new', [other]],
      ]),
    ),
    'it moves from one to the other',
  )
  replies.setNat(1, [other])
  t.equal(lookUp(memory, '10.0.0.1', 80)?.byFlow, 1)
  t.same([...flows].sort(), [3, 4])
  t.ok(replies.hasByFlow())
  replies.setNat(0, [])
  t.match(lookUp(memory, '10.0.0.1', 80), { byFlow: 0, id: 4, vip: addressBytes('192.0.2.2') })
  t.notOk(flows.has(4))
  t.notOk(replies.hasByFlow())
})

t.test('a backend on every port is told by the flow, and so is what shares its address', async t => {
  const { memory, replies } = open()
  replies.setNat(0, [nat(3, '10.0.0.1', 80, '192.0.2.1')])
  replies.setNat(1, [nat(4, '10.0.0.1', 0, '192.0.2.2')])
  t.match(lookUp(memory, '10.0.0.1', 80), { byFlow: 1, id: 3 })
  t.match(lookUp(memory, '10.0.0.1', 443), { byFlow: 1, id: 4 })
  replies.setNat(1, [])
  t.match(lookUp(memory, '10.0.0.1', 80), { byFlow: 0, id: 3 })
  t.equal(lookUp(memory, '10.0.0.1', 443), null)
})

t.test('local addresses are there by themselves', async t => {
  const { memory, replies } = open()
  replies.setLocal([{ addr: addressBytes('10.1.0.1'), number: 7 }])
  t.match(lookUp(memory, '10.1.0.1', 0, 0), { id: 7 })
  replies.setLocal([{ addr: addressBytes('10.1.0.2'), number: 7 }])
  t.equal(lookUp(memory, '10.1.0.1', 0, 0), null)
  t.match(lookUp(memory, '10.1.0.2', 0, 0), { id: 7 })
})

const step = fc.record({
  service: fc.nat(2),
  backends: fc.uniqueArray(fc.record({ last: fc.nat(3), port: fc.constantFrom(0, 80, 81) }), {
    maxLength: 4,
    selector: ({ last, port }) => `${last}:${port}`,
  }),
})

t.test('after any history the table says what is there, and which backends are by flow', async t => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), steps => {
      const { memory, replies, flows, pass } = open()
      const there = new Map<number, readonly NatBackend[]>()
      let id = 1
      for (const { service, backends } of steps) {
        pass()
        const wanted = backends.map(({ last, port }) =>
          nat(id++, `10.0.0.${last}`, port, `192.0.2.${service}`),
        )
        for (const { id: gone } of there.get(service) ?? []) flows.delete(gone)
        if (!replies.setNat(service, wanted)) throw new Error('no room')
        there.set(service, wanted)
        const all = [...there.values()].flat()
        for (let last = 0; last < 4; last++)
          for (const port of [80, 81, 99]) {
            const found = lookUp(memory, `10.0.0.${last}`, port)
            const own = all.filter(one => one.backend.port === port && one.backend.addr[15] === last)
            const every = all.filter(one => one.backend.port === 0 && one.backend.addr[15] === last)
            const users = own.length > 0 ? own : every
            if ((found !== null) !== users.length > 0) throw new Error(`${last}:${port} is there or is not`)
            if (!found) continue
            const isByFlow = every.length > 0 || own.length > 1
            if ((found.byFlow === 1) !== isByFlow) throw new Error(`${last}:${port} by flow`)
            if (!isByFlow && found.id !== own[0]!.id) throw new Error('another one’s')
            for (const one of users)
              if (flows.has(one.id) !== isByFlow) throw new Error(`record of ${last}:${port}`)
          }
      }
    }),
    { numRuns: 500 },
  )
  t.pass('500 histories')
})

t.test('a backend that is NAT no longer is not told by its flow either', async t => {
  const { replies, flows } = open()
  replies.setNat(0, [nat(3, '10.0.0.1', 0, '192.0.2.1')])
  t.same([...flows], [3], 'on every port')
  replies.setNat(0, [])
  t.same([...flows], [])

  replies.setNat(0, [nat(3, '10.0.0.1', 8080, '192.0.2.1')])
  replies.setNat(1, [nat(4, '10.0.0.1', 8080, '192.0.2.2')])
  t.same([...flows].sort(), [3, 4], 'a port of two services')
  replies.setNat(1, [])
  t.same([...flows], [], 'and of one again')
})

t.test('what replies come from is told before one comes, and lets each of them through', async t => {
  const addresses = fc.array(fc.uint8Array({ minLength: 4, maxLength: 4 }), { maxLength: 6 })
  fc.assert(
    fc.property(addresses, fc.boolean(), (found, isIpv6) => {
      const mapped = found.map(bytes =>
        Uint8Array.from(
          isIpv6
            ? [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 1, ...bytes]
            : [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...bytes],
        ),
      )
      const memory = new ArrayBuffer(2 * prefixLayout.size)
      writeNatSources(memory, mapped)
      const { net, mask } = prefixLayout.decode(
        new Uint8Array(memory, isIpv6 ? prefixLayout.size : 0, prefixLayout.size),
      )
      for (const addr of mapped) t.ok(addr.every((byte, i) => ((byte ^ net[i]!) & mask[i]!) === 0))
      // As narrow as may be: a bit that is looked at is the same in all.
      for (let bit = 0; bit < 128; bit++) {
        const at = (bytes: Uint8Array): number => (bytes[bit >> 3]! >> (bit & 7)) & 1
        const isShared = mapped.length > 0 && mapped.every(addr => at(addr) === at(mapped[0]!))
        if ((at(mask) === 1) !== isShared) t.fail(`bit ${bit}`)
      }
    }),
  )
})
