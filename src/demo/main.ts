/**
 * `npm run demo`: a lab of network namespaces, Linimo between a client and three web servers, and a look at what it
 * does. `--hold` leaves all of it up until Ctrl-C; `--json` prints the report alone to standard output.
 */
import { readFileSync, realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Daemon, startDaemon } from '../lab/daemon.js'
import { createLab, type Lab, VIP } from '../lab/lab.js'
import { closeAllNamespaces } from '../lab/namespaces.js'
import { download, makeFile, upload } from '../lab/transfer.js'
import { measureFailover, measureSpread } from './measure.js'
import { counterTables, type Report, shareTable, transferLine } from './report.js'

const CONFIG = fileURLToPath(new URL('../../demo/linimo.yaml', import.meta.url))
const REQUESTS = 6000
const FILE_BYTES = 20 * 1024 * 1024

interface Options {
  readonly hold: boolean
  readonly json: boolean
}

/** Ends by itself only through a signal, or when the npm that started it is gone. */
const interruption = () =>
  new Promise<NodeJS.Signals>(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve(signal))
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => resolve('SIGPIPE')) // nobody reads on
    const parent = process.ppid
    if (process.env.npm_lifecycle_event)
      setInterval(() => {
        if (process.ppid !== parent) resolve('SIGTERM')
      }, 500).unref()
  })

const playground = (lab: Lab, daemon: Daemon) => {
  const inClient = `nsenter --net=/run/netns/${lab.client.namespace}`
  const socket = `--socket ${daemon.socket}`
  const victim = lab.backends[0]
  return [
    'It stays up until Ctrl-C. In another terminal, in this directory:',
    `  ${inClient} curl -s http://${VIP}/`,
    `  for i in $(seq 20); do ${inClient} curl -s http://${VIP}/; done | sort | uniq -c`,
    `  npx linimo status ${socket}`,
    `  npx linimo ring show web ${socket}`,
    `  npx linimo backend set web/b1 --weight 5 ${socket}`,
    `  kill $(cat ${lab.directory}/${victim?.name}/nginx.pid)    # ${victim?.name}'s web server: see its health change`,
  ].join('\n')
}

const runDemo = async (options: Options, say: (text: string) => void): Promise<Report> => {
  const lab = await createLab()
  say(`Lab ${lab.prefix}: a client, the balancer and three backends with nginx, each in a network namespace.`)
  const daemon = startDaemon(lab.balancer, {
    instance: lab.prefix.replace('lnm', 'demo'),
    directory: lab.directory,
    config: readFileSync(CONFIG, 'utf8'),
  })
  const { interfaces } = await daemon.ready()
  say(`Linimo runs with demo/linimo.yaml, XDP mode ${interfaces.map(row => row.mode).join(', ')}.\n`)

  say(`${REQUESTS} HTTP requests to http://${VIP}/, a connection each:`)
  const spread = await measureSpread(lab, daemon, REQUESTS)
  say(`${shareTable(spread.backends)}\n  ${spread.failed} failed\n`)

  makeFile(lab, 'random', FILE_BYTES)
  const down = await download(lab, VIP, 'random')
  say(transferLine('Download', down))
  const up = await upload(lab, VIP, 'random')
  say(`${transferLine('Upload', up)}\n`)

  const victim = lab.backends[1]!
  say(`Stopping nginx of ${victim.name} under 400 requests a second ...`)
  const failover = await measureFailover(lab, daemon, victim)
  say(`  ${failover.failed} requests failed, the last one ${failover.seconds.toFixed(2)} s after the stop`)
  await victim.web.start()
  await daemon.until('web', victim.name, row => row.health === 'up')
  say(`  ${victim.name} runs again and is back in the ring\n`)

  say(`Counters:\n${counterTables(await daemon.json('status'))}\n`)
  if (options.hold) say(playground(lab, daemon))
  return { ...spread, download: down, upload: up, failover }
}

/** @returns the exit code */
export const main = async (args: readonly string[]): Promise<number> => {
  const { values } = parseArgs({
    args: [...args],
    options: { hold: { type: 'boolean', default: false }, json: { type: 'boolean', default: false } },
  })
  const options: Options = values
  const say = (text: string) => void (options.json ? process.stderr : process.stdout).write(`${text}\n`)
  const interrupted = interruption()
  try {
    const report = await Promise.race([runDemo(options, say), interrupted])
    if (typeof report === 'string') return report === 'SIGINT' ? 130 : 143
    if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`)
    if (options.hold) await interrupted
    return report.failed === 0 && report.download.intact && report.upload.intact ? 0 : 1
  } catch (error) {
    process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  } finally {
    say('Taking everything down.')
    await closeAllNamespaces()
  }
}

const isProgram =
  process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)
if (isProgram) process.exit(await main(process.argv.slice(2)))
