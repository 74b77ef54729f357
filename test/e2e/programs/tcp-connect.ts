/** Opens one TCP connection: `tcp-connect.ts HOST PORT`. Prints `connected`, or the error's code. */
import { connect } from 'node:net'

const [host = '', port] = process.argv.slice(2)
const socket = connect({ host, port: Number(port), timeout: 5000 })
const finish = (result: string) => {
  process.stdout.write(result)
  socket.destroy()
}
socket.once('connect', () => finish('connected'))
socket.once('timeout', () => finish('silence'))
socket.once('error', error => finish((error as NodeJS.ErrnoException).code ?? error.message))
