/** Answers each line with its own name and the line: `tcp-named.ts NAME PORT`. Prints `ready` when it listens. */
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'

const [name = '', port] = process.argv.slice(2)
createServer(socket => {
  socket.on('error', () => {})
  const lines = createInterface({ input: socket })
  lines.on('error', () => {})
  lines.on('line', line => void (socket.writable && socket.write(`${name} ${line}\n`)))
}).listen(Number(port), '::', () => process.stdout.write('ready\n'))
