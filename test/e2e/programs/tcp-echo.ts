/** Sends back what it gets, until the peer ends: `tcp-echo.ts PORT`. Prints `ready` when it listens. */
import { createServer } from 'node:net'

createServer(socket => {
  socket.on('error', () => {})
  socket.pipe(socket)
}).listen(Number(process.argv[2]), '::', () => process.stdout.write('ready\n'))
