/**
 * Holds connections and UDP flows, and asks on each again and again who answers: `client.ts OPTIONS`. What ends is begun
 * anew. Prints an event a line (Said); a line `leave NAME` on standard input ends, politely, what talks to that backend;
 * the end of the input ends all.
 */
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import type { ClientOptions, Said } from '../said.js'

const options = JSON.parse(process.argv[2]!) as ClientOptions
const ANSWER_MS = 15_000
const UDP_TRY_MS = 2500
const UDP_TRIES = 4

let asked = 0
let answered = 0
let isEnding = false
let made = 0
const leavers = new Set<(backend: string) => void>()

const say = (said: Said): void => {
  process.stdout.write(`${JSON.stringify(said)}\n`)
}
const pause = (everyMs: number): number => everyMs * (0.7 + 0.3 * Math.random())

interface Talk {
  readonly id: number
  readonly protocol: 'tcp' | 'udp'
  port: number
  backend: string
  life: string
  sequence: number
  okAt: number
  isAsking: boolean
}
const talkOf = (protocol: 'tcp' | 'udp'): Talk => ({
  id: made++,
  protocol,
  port: 0,
  backend: '',
  life: '',
  sequence: 0,
  okAt: Date.now(),
  isAsking: false,
})

/** @returns whether the answer came from where the flow began */
const hear = (talk: Talk, text: string): 'same' | 'stale' | 'moved' => {
  const [backend = '', life = '', sequence] = text.trim().split(' ')
  if (Number(sequence) !== talk.sequence) return 'stale'
  answered++
  talk.isAsking = false
  const { id, protocol, port } = talk
  if (talk.backend === '') {
    talk.backend = backend
    talk.life = life
    say({ kind: 'open', id, protocol, port, backend, at: Date.now() })
  } else if (talk.backend !== backend || talk.life !== life) {
    over(talk, 'moved', backend)
    return 'moved'
  }
  talk.okAt = Date.now()
  return 'same'
}
const over = ({ id, protocol, port, backend, okAt }: Talk, why: string, to: string | null = null): void => {
  if (isEnding) return
  if (backend === '') say({ kind: 'unopened', id, protocol, why })
  else say({ kind: 'over', id, protocol, port, backend, why, to, okAt, at: Date.now() })
}

const connection = (everyMs: number): void => {
  const talk = talkOf('tcp')
  const socket = connect({ host: options.host, port: options.port, noDelay: true })
  let timer: NodeJS.Timeout | undefined
  let why = 'closed by the other side'
  /** Nothing is sent any more; the last answer may yet come. */
  let isLeaving = false
  const leave = (backend: string): void => {
    if (backend !== talk.backend) return
    why = 'asked to'
    isLeaving = true
    clearTimeout(timer)
    socket.end()
  }
  leavers.add(leave)
  const ask = (): void => {
    talk.sequence++
    talk.isAsking = true
    asked++
    socket.write(`${talk.sequence}\n`)
    timer = setTimeout(() => {
      why = 'no answer'
      socket.destroy()
    }, ANSWER_MS)
  }
  timer = setTimeout(() => {
    why = 'not connected'
    socket.destroy()
  }, 5000)
  const lines = createInterface({ input: socket })
  lines.on('error', () => {})
  lines.on('line', line => {
    const heard = hear(talk, line)
    if (heard === 'stale') return
    clearTimeout(timer)
    if (heard === 'moved') socket.destroy()
    else if (!isLeaving) timer = setTimeout(ask, pause(everyMs))
  })
  socket.on('connect', () => {
    clearTimeout(timer)
    talk.port = socket.localPort ?? 0
    ask()
  })
  socket.on('error', error => {
    why = (error as { code?: string }).code ?? 'error'
  })
  socket.on('close', () => {
    clearTimeout(timer)
    leavers.delete(leave)
    over(talk, why)
    if (!isEnding) setTimeout(() => connection(everyMs), 200 + 600 * Math.random())
  })
}

const datagrams = (everyMs: number): void => {
  const talk = talkOf('udp')
  const socket = createSocket('udp4')
  let timer: NodeJS.Timeout | undefined
  const end = (why: string | null): void => {
    clearTimeout(timer)
    leavers.delete(leave)
    if (why) over(talk, why)
    socket.close()
    if (!isEnding) setTimeout(() => datagrams(everyMs), 200 + 600 * Math.random())
  }
  const leave = (backend: string): void => {
    if (backend === talk.backend) end('asked to')
  }
  leavers.add(leave)
  const ask = (tries: number): void => {
    if (tries === 1) {
      talk.sequence++
      asked++
    }
    talk.isAsking = true
    socket.send(`${talk.sequence}`)
    timer = setTimeout(() => (tries < UDP_TRIES ? ask(tries + 1) : end('no answer')), UDP_TRY_MS)
  }
  socket.on('error', () => {})
  socket.on('message', message => {
    const heard = hear(talk, message.toString())
    if (heard === 'stale') return
    clearTimeout(timer)
    if (heard === 'moved') end(null)
    else timer = setTimeout(ask, pause(everyMs), 1)
  })
  socket.connect(options.port, options.host, () => {
    talk.port = socket.address().port
    ask(1)
  })
}

const times = (count: number, begin: () => void): void => {
  for (let i = 0; i < count; i++) setTimeout(begin, (2000 * i) / count)
}
times(options.steady, () => connection(options.steadyMs))
times(options.resting, () => connection(options.restingMs))
times(options.datagrams / 2, () => datagrams(options.steadyMs))
times(options.datagrams / 2, () => datagrams(options.restingMs))

const input = createInterface({ input: process.stdin })
input.on('line', line => {
  const [, backend] = line.split(' ')
  for (const leave of [...leavers]) leave(backend!)
})
input.on('close', () => {
  isEnding = true
  say({ kind: 'end', asked, answered })
  process.exit(0)
})
