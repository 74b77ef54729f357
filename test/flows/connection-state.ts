import t from 'tap'
import { connectionSeen } from '../../src/dataplane/layout.js'
import { stateOf } from '../../src/flows/connection-state.js'
import { connectionStates } from '../../src/flows/states.js'

const { SEEN_SYN, SEEN_ACK, SEEN_FIN, SEEN_FIN_FIRST, SEEN_RST } = connectionSeen
const [TCP, UDP] = [6, 17]

type End = 'client' | 'server'

/** What both ends have been seen to say after these packets: "client S", "server SA", "client A" ... */
const seenAfter = (packets: readonly string[]): Readonly<Record<End, number>> => {
  const seen: Record<End, number> = { client: 0, server: 0 }
  for (const packet of packets) {
    const [end, flags] = packet.split(' ') as [End, string]
    const other = end === 'client' ? 'server' : 'client'
    if (flags.includes('S')) seen[end] |= SEEN_SYN
    else seen[end] |= SEEN_ACK
    if (flags.includes('F') && !(seen[end] & SEEN_FIN))
      seen[end] |= SEEN_FIN | (seen[other] & SEEN_FIN ? 0 : SEEN_FIN_FIRST)
    if (flags.includes('R')) seen[end] |= SEEN_RST
  }
  return seen
}

const opened = ['client S', 'server SA', 'client A']

t.test('a TCP connection goes through its states', async t => {
  const histories: readonly (readonly [readonly string[], string])[] = [
    [['client S'], 'syn-sent'],
    [['client S', 'client S'], 'syn-sent'],
    [['client S', 'server SA'], 'syn-received'],
    [opened, 'established'],
    [[...opened, 'server A'], 'established'],
    [[...opened, 'client FA'], 'close-wait'],
    [[...opened, 'server FA'], 'fin-wait'],
    [[...opened, 'client FA', 'server A'], 'close-wait'],
    [[...opened, 'client FA', 'server FA'], 'last-ack'],
    [[...opened, 'client FA', 'server FA', 'client A'], 'last-ack'],
    [[...opened, 'server FA', 'client FA'], 'time-wait'],
    [[...opened, 'client R'], 'close'],
    [['client S', 'server RA'], 'close'],
    [[...opened, 'client FA', 'server FA', 'server R'], 'close'],
    [['client S', 'server SA', 'client FA'], 'close-wait'],
  ]
  for (const [packets, state] of histories) {
    const { client, server } = seenAfter(packets)
    t.equal(connectionStates[stateOf(TCP, client, server)], state, packets.join(', '))
  }
})

t.test('UDP knows one packet from more, and nothing else', async t => {
  for (let server = 0; server < 32; server++) {
    t.equal(connectionStates[stateOf(UDP, 0, server)], 'udp-once')
    t.equal(connectionStates[stateOf(UDP, SEEN_ACK, server)], 'udp')
  }
})

t.test('whatever was seen has a state', async t => {
  for (const protocol of [TCP, UDP])
    for (let client = 0; client < 256; client++)
      for (let server = 0; server < 256; server++)
        if (connectionStates[stateOf(protocol, client, server)] === undefined)
          t.fail(`${protocol} ${client} ${server}`)
  t.equal(connectionStates.length, 10)
})
