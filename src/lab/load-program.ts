/**
 * The program behind startLoad: `node load-program.js OPTIONS-AS-JSON`. It ends when `requests` are done or standard
 * input ends, and then prints the outcomes as JSON lines in the order in which the requests ended.
 */
import { request } from 'node:http'
import type { LoadOptions, Outcome } from './load.js'

const now = () => performance.timeOrigin + performance.now()

const fetchOnce = ({ host, path, timeoutMs }: LoadOptions) =>
  new Promise<Outcome>(resolve => {
    const began = now()
    let clientPort = 0
    let backend: string | null = null
    let bytes = 0
    let isDone = false
    const finish = (error: string | null) => {
      if (isDone) return
      isDone = true
      clearTimeout(timer)
      outgoing.destroy()
      resolve({ began, ended: now(), clientPort, backend, bytes, error })
    }
    const outgoing = request({ host, path, agent: false, headers: { connection: 'close' } }, response => {
      const name = response.headers['x-backend']
      backend = typeof name === 'string' ? name : null
      const status = response.statusCode ?? 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      response.on('end', () =>
        finish(!response.complete ? 'cut short' : status >= 200 && status < 300 ? null : `status ${status}`),
      )
      response.on('error', error => finish(error.message))
    })
    const timer = setTimeout(() => finish('no answer in time'), timeoutMs ?? 5000)
    outgoing.on('socket', socket =>
      socket.once('connect', () => {
        clientPort = socket.localPort ?? 0
      }),
    )
    outgoing.on('error', error => finish(error.message))
    outgoing.end()
  })

const generate = async (options: LoadOptions): Promise<readonly Outcome[]> => {
  const outcomes: Outcome[] = []
  let isStopped = false
  process.stdin.on('end', () => {
    isStopped = true
  })
  process.stdin.resume()

  const start = now()
  let begun = 0
  const worker = async () => {
    while (!isStopped && begun < options.requests) {
      const number = begun++
      if (options.perSecond !== undefined) {
        const wait = start + (number * 1000) / options.perSecond - now()
        if (wait > 0) await new Promise(resolve => setTimeout(resolve, wait))
        if (isStopped) return
      }
      outcomes.push(await fetchOnce(options))
    }
  }
  await Promise.all(Array.from({ length: options.concurrency }, worker))
  return outcomes
}

const outcomes = await generate(JSON.parse(process.argv[2] ?? '{}') as LoadOptions)
process.stdin.destroy()
process.stdout.write(outcomes.map(outcome => `${JSON.stringify(outcome)}\n`).join(''))
