/**
 * Makes new connections, each for one question: `fresh.ts HOST PORT EVERY_MS`. When its input ends it prints
 * { "tried": connections, "failed": those without an answer within 10 s }.
 */
import { connect } from 'node:net'

const [host = '', port, everyMs] = process.argv.slice(2)
let [tried, failed, waiting] = [0, 0, 0]
let isEnding = false

const end = (): void => {
  if (!isEnding || waiting > 0) return
  process.stdout.write(`${JSON.stringify({ tried, failed })}\n`)
  process.exit(0)
}
const begin = (): void => {
  tried++
  waiting++
  let isAnswered = false
  const socket = connect({ host, port: Number(port), noDelay: true }, () => socket.write('1\n'))
  const timer = setTimeout(() => socket.destroy(), 10_000)
  socket.on('data', () => {
    isAnswered = true
    socket.destroy()
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    clearTimeout(timer)
    waiting--
    if (!isAnswered) failed++
    end()
  })
}
const making = setInterval(begin, Number(everyMs))
process.stdin.resume().on('end', () => {
  clearInterval(making)
  isEnding = true
  end()
})
