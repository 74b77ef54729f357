/**
 * Holds TCP connections to servers that say their names (tcp-named.ts), and asks each again and again:
 * `tcp-hold.ts HOST PORT COUNT EVERY_MS`. Prints `ready` when all have answered; on each line of standard input, a line
 * of JSON: { "held": { NAME: connections }, "broken": { NAME: connections }, "moved": answers of another backend }.
 */
import { connect } from 'node:net'
import { createInterface } from 'node:readline'

const [host = '', port, count, everyMs] = process.argv.slice(2)
const held = new Map<string, number>()
const broken = new Map<string, number>()
let moved = 0
let answered = 0
const add = (to: Map<string, number>, name: string, by: number): void => {
  to.set(name, (to.get(name) ?? 0) + by)
}

const hold = (): void => {
  const socket = connect({ host, port: Number(port), noDelay: true })
  let name = ''
  let asking: NodeJS.Timeout | undefined
  const lines = createInterface({ input: socket })
  lines.on('error', () => {})
  lines.on('line', line => {
    const from = line.split(' ')[0]!
    if (name === '') {
      name = from
      add(held, name, 1)
      if (++answered === Number(count)) process.stdout.write('ready\n')
    } else if (from !== name) moved++
  })
  socket.on('connect', () => {
    socket.write('hello\n')
    asking = setInterval(() => socket.write('again\n'), Number(everyMs))
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    clearInterval(asking)
    if (name !== '') add(held, name, -1)
    add(broken, name, 1)
  })
}

for (let i = 0; i < Number(count); i++) hold()
createInterface({ input: process.stdin }).on('line', () => {
  const report = { held: Object.fromEntries(held), broken: Object.fromEntries(broken), moved }
  process.stdout.write(`${JSON.stringify(report)}\n`)
})
