/**
 * TCP connections whose ends say what becomes of them, a line each.
 *
 *   tcp-resets.ts server PORT                        echoes lines; "said ADDRESS PORT LINE" of a connection's first one
 *   tcp-resets.ts client HOST PORT COUNT EVERY_MS    each connection sends its own port again and again; "open PORT"
 *
 * Both print `ready`, and "reset ADDRESS PORT", "end ADDRESS PORT" (the client: "reset PORT", "end PORT").
 */
import { connect, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

const [mode, ...words] = process.argv.slice(2)
const say = (line: string): void => void process.stdout.write(`${line}\n`)

const follow = (socket: Socket, who: string, onLine: (line: string) => void): void => {
  let how = 'end'
  socket.on('error', error => {
    how = 'code' in error && error.code === 'ECONNRESET' ? 'reset' : String(error)
  })
  socket.on('close', () => say(`${how} ${who}`))
  const lines = createInterface({ input: socket })
  lines.on('error', () => {})
  lines.on('line', onLine)
}

if (mode === 'server') {
  createServer(socket => {
    const who = `${socket.remoteAddress?.replace(/^::ffff:/, '')} ${socket.remotePort}`
    let isFirst = true
    follow(socket, who, line => {
      if (isFirst) say(`said ${who} ${line}`)
      isFirst = false
      if (socket.writable) socket.write(`${line}\n`)
    })
  }).listen(Number(words[0]), '::', () => say('ready'))
} else {
  const [host = '', port, count, everyMs] = words
  let open = 0
  for (let i = 0; i < Number(count); i++) {
    const socket = connect({ host, port: Number(port), noDelay: true })
    socket.on('connect', () => {
      const own = socket.localPort
      let isFirst = true
      follow(socket, String(own), () => {
        if (isFirst) say(`open ${own}`)
        if (isFirst && ++open === Number(count)) say('ready')
        isFirst = false
      })
      socket.write(`${own}\n`)
      const sending = setInterval(() => socket.writable && socket.write(`${own}\n`), Number(everyMs))
      socket.on('close', () => clearInterval(sending))
    })
  }
}
