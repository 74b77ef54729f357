/**
 * A backend: `server.ts NAME PORT ADDRESS`. Answers each line of a connection, and each datagram to that address, with its name,
 * which life of its process this is, and the line. Prints `ready` when it listens.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'

const [name = '', port, address = ''] = process.argv.slice(2)
const says = `${name} ${process.pid}-${Date.now()}`

const udp = createSocket('udp4')
udp.on('message', (message, from) => udp.send(`${says} ${message}`, from.port, from.address))
udp.bind(Number(port), address)
await once(udp, 'listening')

const tcp = createServer(socket => {
  socket.setNoDelay(true)
  socket.on('error', () => {})
  const lines = createInterface({ input: socket })
  lines.on('error', () => {})
  lines.on('line', line => socket.write(`${says} ${line}\n`))
})
tcp.listen({ port: Number(port), host: '::', backlog: 4096 }, () => process.stdout.write('ready\n'))
