/**
 * Sends datagrams, each from a connected socket of its own: `udp-ask.ts HOST[,HOST...] PORT COUNT BYTES`, COUNT to each
 * host. Prints a JSON list: the answer's first word, or the error's code, or `silence` after 2 s. A refusal is only seen
 * at the next call on the socket, so every datagram is sent twice, the second a moment later.
 */
import { createSocket } from 'node:dgram'

const [hosts = '', port, count, bytes] = process.argv.slice(2)
const ask = (host: string) =>
  new Promise<string>(resolve => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
    const finish = (result: string) => {
      clearTimeout(again)
      clearTimeout(limit)
      socket.close()
      resolve(result)
    }
    const send = () => socket.send(Buffer.alloc(Number(bytes), 'x'))
    let again: NodeJS.Timeout | undefined
    const limit = setTimeout(() => finish('silence'), 2000)
    socket.on('error', error => finish((error as NodeJS.ErrnoException).code ?? error.message))
    socket.on('message', message => finish(message.toString().split(':', 1)[0] ?? ''))
    socket.connect(Number(port), host, () => {
      send()
      again = setTimeout(send, 200)
    })
  })

const asked = hosts.split(',').flatMap(host => Array.from({ length: Number(count) }, () => ask(host)))
const answers = await Promise.all(asked)
process.stdout.write(JSON.stringify(answers))
