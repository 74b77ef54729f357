/** NAT: a request to the backend's address and port, its replies back to the client; every byte of either. */
import t from 'tap'
import { counting, sameBytes } from '../fixtures/bytes.js'
import { instance } from '../fixtures/cases.js'
import { destinationOptions, frame, hopByHop, routing, type Tag } from '../fixtures/frames.js'
import {
  clients,
  families,
  fromBackend,
  inward,
  ip,
  NARROW_MTU,
  natServices,
  natTables,
  serviceId,
  toBackend,
  toGateway,
} from '../fixtures/nat-cases.js'
import { parseEthernet, wrongChecksums } from '../fixtures/parse.js'
import { BALANCER_MAC, CLIENT_MAC, OUT_MAC } from '../fixtures/tables.js'
import { type Transport, tcp, tcpFlags, udp } from '../fixtures/transport.js'

const ACK = tcpFlags.ACK
const SOURCE = 40000
const payload = counting(33)

type Service = (typeof natServices)[number]
/** A segment or datagram of the service's protocol. */
const segment = (
  { protocol }: Service,
  ports: { from: number; to: number },
  flags: number = ACK,
): Transport =>
  protocol === 'tcp' ? tcp({ ...ports, seq: 7, ack: 9, window: 512, flags }, payload) : udp(ports, payload)

const own = ({ port, toPort }: Service): number => toPort || port
const each = ([4, 6] as const).flatMap(family => natServices.map(service => [family, service] as const))

t.test('a request leaves for the backend’s address and port, from the client as it came', async t => {
  const dataPlane = await instance(t, natTables)
  for (const [family, service] of each) {
    const { vip, backend, client } = families[family]
    const id = serviceId(family, service.name) + 1
    const isFar = service.name === 'far'
    for (const flags of [tcpFlags.SYN, ACK, ACK | tcpFlags.FIN, tcpFlags.RST]) {
      const sent = frame(
        inward,
        ip({ from: client, to: vip, tos: 0x2a }, segment(service, { from: SOURCE, to: service.port }, flags)),
      )
      const answer = dataPlane.run(sent)
      t.equal(answer.verdict, isFar ? 'REDIRECT_NAT' : 'TX_NAT', `${family} ${service.name}`)
      t.equal(answer.backend?.id, id)
      const ends = isFar ? { ...toBackend(id), from: OUT_MAC } : toBackend(id)
      const wanted = segment(service, { from: SOURCE, to: own(service) }, flags)
      t.same(answer.packet, frame(ends, ip({ from: client, to: backend, ttl: 63, tos: 0x2a }, wanted)))
    }
  }
})

t.test('a reply leaves for the client, from the VIP and its port', async t => {
  const dataPlane = await instance(t, natTables)
  for (const [family, service] of each) {
    const { vip, backend, client } = families[family]
    const id = serviceId(family, service.name) + 1
    for (const flags of [tcpFlags.SYN | ACK, ACK, tcpFlags.RST, tcpFlags.RST | ACK, tcpFlags.FIN | ACK]) {
      const sent = frame(
        fromBackend(id),
        ip(
          { from: backend, to: client, tos: 0x2a },
          segment(service, { from: own(service), to: SOURCE }, flags),
        ),
      )
      const answer = dataPlane.run(sent)
      t.equal(answer.verdict, 'TX_NAT_REPLY', `${family} ${service.name}`)
      t.equal(answer.backend?.id, id)
      const wanted = segment(service, { from: service.port, to: SOURCE }, flags)
      t.same(answer.packet, frame(toGateway, ip({ from: vip, to: client, ttl: 63, tos: 0x2a }, wanted)))
    }
  }
})

t.test('a reply takes the way of its client’s network', async t => {
  const dataPlane = await instance(t, natTables)
  for (const family of [4, 6] as const) {
    const { vip, backend } = families[family]
    const { far, narrow, local, lost } = clients[family]
    const reply = (to: string) =>
      frame(fromBackend(1), ip({ from: backend, to }, tcp({ from: 8080, to: SOURCE, flags: ACK })))
    const wanted = (to: string) => ip({ from: vip, to, ttl: 63 }, tcp({ from: 80, to: SOURCE, flags: ACK }))
    const byFar = dataPlane.run(reply(far))
    t.equal(byFar.verdict, 'REDIRECT_NAT_REPLY')
    t.same(byFar.packet, frame({ to: '02:00:00:00:01:0a', from: OUT_MAC }, wanted(far)))
    const byNarrow = dataPlane.run(reply(narrow))
    t.equal(byNarrow.verdict, 'TX_NAT_REPLY')
    t.same(byNarrow.packet, frame(toGateway, wanted(narrow)))
    t.equal(dataPlane.run(reply(lost)).verdict, 'DROP_NO_NEXT_HOP')
    const toHost = reply(local)
    const { verdict, packet } = dataPlane.run(toHost)
    t.equal(verdict, 'PASS_NOT_A_SERVICE', 'a probe’s answer, to the balancer itself')
    t.same(packet, toHost)
  }
})

t.test('what is no reply passes untouched', async t => {
  const dataPlane = await instance(t, natTables)
  for (const family of [4, 6] as const) {
    const { backend, client } = families[family]
    const other = family === 4 ? '10.9.0.99' : '2001:db8:9::99'
    const mapped = { from: '::ffff:10.9.0.21', to: '2001:db8:1::7' }
    const cases = {
      'the backend’s own connection': ip(
        { from: backend, to: client },
        tcp({ from: 8080, to: 443, flags: tcpFlags.SYN }),
      ),
      'another port of it': ip({ from: backend, to: client }, tcp({ from: 8079, to: SOURCE, flags: ACK })),
      'another protocol': ip({ from: backend, to: client }, udp({ from: 8080, to: SOURCE })),
      'another host': ip({ from: other, to: client }, tcp({ from: 8080, to: SOURCE, flags: ACK })),
      'an IPv4 address within IPv6': ip(mapped, tcp({ from: 8080, to: SOURCE, flags: ACK })),
    }
    for (const [name, what] of Object.entries(cases)) {
      const sent = frame(fromBackend(1), what)
      const { verdict, packet } = dataPlane.run(sent)
      t.equal(verdict, 'PASS_NOT_A_SERVICE', `${family}: ${name}`)
      t.ok(sameBytes(packet, sent))
    }
    const flewBy = frame(
      { to: CLIENT_MAC, from: BALANCER_MAC },
      ip({ from: backend, to: client }, tcp({ from: 8080, to: SOURCE, flags: ACK })),
    )
    const answer = dataPlane.run(flewBy)
    t.equal(answer.verdict, 'PASS_OTHER_HOST')
    t.ok(sameBytes(answer.packet, flewBy))
  }
})

t.test('VLAN tags, IPv4 options, IPv6 extension headers and an Ethernet trailer stay', async t => {
  const dataPlane = await instance(t, natTables)
  const tags: Tag[] = [{ tpid: 0x88a8, tci: 0x2005 }, { tci: 0x0007 }]
  const options = counting(11).map(byte => byte | 0x80)
  const extensions = [hopByHop(), destinationOptions(2), routing(0, 1)]
  for (const family of [4, 6] as const) {
    const { vip, backend, client } = families[family]
    for (const more of [{}, family === 4 ? { options } : { extensions }])
      for (const count of [0, 1, 2]) {
        const ethernet = { tags: tags.slice(0, count), padTo: 200 }
        const query = { from: SOURCE, to: 53 }
        const there = dataPlane.run(
          frame({ ...inward, ...ethernet }, ip({ from: client, to: vip, ...more }, udp(query, payload))),
        )
        const id = serviceId(family, 'dns') + 1
        t.equal(there.verdict, 'TX_NAT')
        t.same(
          there.packet,
          frame(
            { ...toBackend(id), ...ethernet },
            ip({ from: client, to: backend, ttl: 63, ...more }, udp({ ...query, to: 5353 }, payload)),
          ),
        )
        const response = { from: 5353, to: SOURCE }
        const back = dataPlane.run(
          frame(
            { ...fromBackend(id), ...ethernet },
            ip({ from: backend, to: client, ...more }, udp(response, payload)),
          ),
        )
        t.equal(back.verdict, 'TX_NAT_REPLY')
        t.same(
          back.packet,
          frame(
            { ...toGateway, ...ethernet },
            ip({ from: vip, to: client, ttl: 63, ...more }, udp({ ...response, from: 53 }, payload)),
          ),
        )
      }
  }
})

t.test('an L4 header that lies deep is translated rightly, or nothing is changed', async t => {
  const dataPlane = await instance(t, natTables)
  const { vip, backend, client } = families[6]
  let translated = 0
  for (const units of [60, 120, 121, 122, 125, 150, 180]) {
    const request = (to: string, port: number, ttl: number) =>
      ip(
        { from: client, to, ttl, extensions: [destinationOptions(units)] },
        tcp({ from: SOURCE, to: port, flags: ACK }, counting(5)),
      )
    const sent = frame(inward, request(vip, 80, 64))
    const answer = dataPlane.run(sent)
    if (answer.verdict === 'TX_NAT') translated++
    else t.match(answer.verdict, /^(DROP|PASS)/)
    const wanted = frame(toBackend(serviceId(6, 'web') + 1), request(backend, 8080, 63))
    t.ok(sameBytes(answer.packet, answer.verdict === 'TX_NAT' ? wanted : sent), `${units * 8} bytes ahead`)
  }
  t.ok(translated >= 2)
})

t.test('UDP without a checksum stays without; one that comes to 0 is sent as 0xffff', async t => {
  const dataPlane = await instance(t, natTables)
  const { vip, backend, client } = families[4]
  const none = frame(
    inward,
    ip({ from: client, to: vip }, udp({ from: SOURCE, to: 53, checksum: 0 }, payload)),
  )
  t.same(
    dataPlane.run(none).packet,
    frame(
      toBackend(2),
      ip({ from: client, to: backend, ttl: 63 }, udp({ from: SOURCE, to: 5353, checksum: 0 }, payload)),
    ),
  )
  let met = 0
  for (const family of [4, 6] as const)
    for (let word = 0; word < 65536; word++) {
      const { vip, backend, client } = families[family]
      const bytes = Uint8Array.of(word >> 8, word & 255)
      const wanted = ip({ from: client, to: backend, ttl: 63 }, udp({ from: SOURCE, to: 5353 }, bytes))
      if (wanted.bytes.at(-4) !== 0xff || wanted.bytes.at(-3) !== 0xff) continue
      met++
      const sent = frame(inward, ip({ from: client, to: vip }, udp({ from: SOURCE, to: 53 }, bytes)))
      t.same(dataPlane.run(sent).packet, frame(toBackend(serviceId(family, 'dns') + 1), wanted))
    }
  t.ok(met >= 2, `${met} such datagrams`)
})

t.test('a checksum that is wrong stays wrong', async t => {
  const dataPlane = await instance(t, natTables)
  for (const family of [4, 6] as const) {
    const { vip, client } = families[family]
    for (const [name, transport] of [
      ['tcp', tcp({ from: SOURCE, to: 80, flags: ACK, checksum: 0x1234 }, payload)],
      ['udp', udp({ from: SOURCE, to: 53, checksum: 0x1234 }, payload)],
    ] as const) {
      const { verdict, packet } = dataPlane.run(frame(inward, ip({ from: client, to: vip }, transport)))
      t.equal(verdict, 'TX_NAT')
      t.same(wrongChecksums(packet), [name])
    }
  }
})

t.test('what is longer than the way is refused, what is as long is not', async t => {
  const dataPlane = await instance(t, natTables)
  for (const family of [4, 6] as const) {
    const { vip, backend, client } = families[family]
    const { narrow } = clients[family]
    const header = family === 4 ? 28 : 48
    const id = serviceId(family, 'narrow') + 1
    for (const [bytes, there, back] of [
      [NARROW_MTU, 'TX_NAT', 'TX_NAT_REPLY'],
      [NARROW_MTU + 1, 'TX_TOO_BIG', 'TX_TOO_BIG'],
    ] as const) {
      const body = counting(bytes - header)
      const request = frame(inward, ip({ from: client, to: vip }, udp({ from: SOURCE, to: 8082 }, body)))
      t.equal(dataPlane.run(request).verdict, there)
      const reply = frame(
        fromBackend(id),
        ip({ from: backend, to: narrow }, udp({ from: 9082, to: SOURCE }, body)),
      )
      const answer = dataPlane.run(reply)
      t.equal(answer.verdict, back)
      t.same(wrongChecksums(answer.packet), [])
      t.equal(parseEthernet(answer.packet).from, BALANCER_MAC.replaceAll(':', ':'))
    }
  }
})

t.test('cut and fragmented packets are not translated', async t => {
  const dataPlane = await instance(t, natTables)
  const { vip, backend, client } = families[4]
  const request = frame(inward, ip({ from: client, to: vip }, tcp({ from: SOURCE, to: 80, flags: ACK })))
  const reply = frame(
    fromBackend(1),
    ip({ from: backend, to: client }, tcp({ from: 8080, to: SOURCE, flags: ACK })),
  )
  for (const whole of [request, reply])
    for (const [length, verdict] of [
      [53, 'DROP_TRUNCATED'],
      [38, 'DROP_TRUNCATED'],
      [37, 'PASS_TRUNCATED'],
      [33, 'PASS_TRUNCATED'],
    ] as const)
      t.equal(dataPlane.run(whole.subarray(0, length)).verdict, verdict, `${length} bytes`)
  for (const whole of [request, reply]) {
    const fragment = Uint8Array.from(whole)
    fragment[20] = 0x20
    const answer = dataPlane.run(fragment)
    t.equal(answer.verdict, 'PASS_FRAGMENT')
    t.same(answer.packet, fragment)
  }
})

t.test('requests are counted by backend, replies too, and apart', async t => {
  const dataPlane = await instance(t, natTables)
  const { vip, backend, client } = families[4]
  const request = frame(inward, ip({ from: client, to: vip }, tcp({ from: SOURCE, to: 80 }, payload)))
  const reply = (to: string) =>
    frame(fromBackend(1), ip({ from: backend, to }, tcp({ from: 8080, to: SOURCE, flags: ACK })))
  dataPlane.runAll([request, request, reply(client), reply(clients[4].far), reply(clients[4].far)])
  const none = { packets: 0, bytes: 0 }
  t.same(dataPlane.backendCounts(1), {
    tx: { packets: 2, bytes: 2 * request.length },
    redirect: none,
    syns: 2,
  })
  const { length } = reply(client)
  t.same(dataPlane.replyCounts(1), {
    tx: { packets: 1, bytes: length },
    redirect: { packets: 2, bytes: 2 * length },
  })
  t.same(dataPlane.verdictCounts(), {})
})
