/** `npm run bench -- [NAME...] [--quick] [--json FILE]`: runs the benches named, or all. */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { affinity } from './affinity.js'
import { type Answer, type Bench, WrongMeasurement } from './bench.js'
import { change } from './change.js'
import { codec } from './codec.js'
import { dataPlane } from './data-plane.js'
import { dataPlaneNat } from './data-plane-nat.js'
import { dataPlaneTracked } from './data-plane-tracked.js'
import { liveFrames } from './live-frames.js'
import { liveFramesNat } from './live-frames-nat.js'
import { describeMachine } from './machine.js'
import { inNamespace } from './namespace.js'
import { protocol } from './protocol.js'
import { publish } from './publish.js'
import { answerText, machineText, questionText } from './report.js'
import { ring } from './ring.js'
import { sweep } from './sweep.js'

const benches: readonly Bench[] = [
  dataPlane,
  dataPlaneTracked,
  dataPlaneNat,
  liveFrames,
  liveFramesNat,
  publish,
  change,
  ring,
  codec,
  protocol,
  affinity,
  sweep,
]
const IN_NAMESPACE = 'LINIMO_BENCH_IN_NAMESPACE'

const fail = (message: string): never => {
  process.stderr.write(`bench: ${message}\n`)
  process.exit(1)
}

const parse = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { quick: { type: 'boolean', default: false }, json: { type: 'string' } },
    })
  } catch (error) {
    return fail((error as Error).message)
  }
}

const { values, positionals } = parse()
const unknown = positionals.find(name => !benches.some(bench => bench.name === name))
if (unknown !== undefined)
  fail(`there is no bench "${unknown}"; the benches are ${benches.map(({ name }) => name).join(', ')}`)
const chosen = benches.filter(({ name }) => positionals.length === 0 || positionals.includes(name))

const runAll = async (): Promise<void> => {
  const machine = describeMachine()
  console.log(`${machineText(machine)}\n`)
  const answers: (Pick<Bench, 'name' | 'question' | 'method'> & Answer)[] = []
  for (const bench of chosen) {
    const { name, question, method } = bench
    console.log(questionText(bench))
    try {
      const answer = await bench.run({ isQuick: values.quick })
      console.log(`${answerText(answer)}\n`)
      answers.push({ name, question, method, ...answer })
    } catch (error) {
      if (!(error instanceof WrongMeasurement)) throw error
      process.exitCode = 1
      console.log(`  wrong: ${error.message}\n`)
    }
  }
  if (values.json !== undefined)
    writeFileSync(
      values.json,
      `${JSON.stringify({ machine, isQuick: values.quick, benches: answers }, null, 2)}\n`,
    )
}

if (chosen.some(({ needsKernel }) => needsKernel) && process.env[IN_NAMESPACE] === undefined) {
  process.env[IN_NAMESPACE] = '1'
  const script = fileURLToPath(import.meta.url)
  const args = [...process.execArgv, script, ...process.argv.slice(2)]
  process.exitCode = await inNamespace(process.execPath, args)
} else await runAll()
