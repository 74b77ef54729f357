/**
 * Answers each datagram with `NAME: ` and what it said: `udp-echo.ts NAME PORT ADDRESS...`. It binds to the addresses
 * (the VIPs), so that they are the source of its answers. Prints `ready` when all are bound.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'

const [name, port, ...addresses] = process.argv.slice(2)
for (const address of addresses) {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  socket.on('message', (message, from) => {
    socket.send(Buffer.concat([Buffer.from(`${name}: `), message]), from.port, from.address)
  })
  socket.bind(Number(port), address)
  await once(socket, 'listening')
}
process.stdout.write('ready\n')
