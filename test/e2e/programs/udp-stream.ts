/**
 * Asks over and over, in turn from `flows` sockets: `udp-stream.ts HOST PORT FLOWS PER_SECOND`. Prints `ready` when
 * every flow has been answered once, and at the end of its standard input, a second later, what became of all it has
 * sent since: JSON.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'

const [host = '', port, flows, perSecond] = process.argv.slice(2)
const count = Number(flows)
const TICK_MS = 10
const LAST_ANSWER_MS = 1000

const pending = new Map<number, number>()
const backends = Array.from({ length: count }, () => new Set<string>())
let sent = 0
let isCounting = false

const open = async (flow: number): Promise<Socket> => {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  socket.on('error', () => {}) // a refusal is a packet without an answer
  socket.on('message', message => {
    const [backend = '', sequence = ''] = message.toString().split(': ')
    backends[flow]!.add(backend)
    pending.delete(Number(sequence))
  })
  socket.connect(Number(port), host)
  await once(socket, 'connect')
  return socket
}
const sockets: Socket[] = []
for (let flow = 0; flow < count; flow++) sockets.push(await open(flow))

let next = 0
const ask = () => {
  pending.set(next, Date.now())
  sockets[next % count]!.send(String(next))
  next++
  if (isCounting) sent++
}
const delay = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

for (let tries = 0; backends.some(({ size }) => size === 0); tries++) {
  if (tries === 200) throw new Error('some flow is not answered')
  for (let flow = 0; flow < count; flow++) ask()
  await delay(50)
}
await delay(LAST_ANSWER_MS)
pending.clear()
isCounting = true
process.stdout.write('ready\n')

const began = performance.now()
const timer = setInterval(() => {
  while (sent < ((performance.now() - began) / 1000) * Number(perSecond)) ask()
}, TICK_MS)
process.stdin.resume()
await once(process.stdin, 'end')
clearInterval(timer)
await delay(LAST_ANSWER_MS)
process.stdout.write(
  JSON.stringify({
    sent,
    lost: pending.size,
    /** Flows that more than one backend has answered. */
    torn: backends.filter(({ size }) => size > 1).length,
    backends: [...new Set(backends.flatMap(set => [...set]))].sort(),
  }),
)
process.exit(0)
