import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Report } from '../../src/demo/report.js'
import { capture } from '../../src/lab/process.js'
import { skip } from '../fixtures/site.js'

const DEMO = fileURLToPath(new URL('../../dist/demo/main.js', import.meta.url))
const COMMAND = [process.execPath, DEMO] as const

/** The namespaces of the lab that the demo's output names. */
const namespacesOf = (output: string) => {
  const prefix = /Lab (lnm-\w+):/.exec(output)?.[1]
  if (!prefix) throw new Error(`the demo names no lab: ${output}`)
  const all = existsSync('/run/netns') ? readdirSync('/run/netns') : []
  return all.filter(name => name.startsWith(`${prefix}-`))
}

t.test('the demo balances, loses a backend, and leaves nothing behind', { skip }, async t => {
  const { code, stdout, stderr } = await capture([...COMMAND, '--json'], { timeoutMs: 110_000 })
  t.equal(code, 0, stderr)
  const report = JSON.parse(stdout) as Report
  const { requests, failed, backends, download, upload, failover } = report

  t.equal(failed, 0)
  t.ok(requests >= 1000)
  t.equal(
    backends.reduce((sum, backend) => sum + backend.requests, 0),
    requests,
  )
  t.same(
    backends.map(({ backend, expected }) => [backend, expected]),
    [
      ['b1', 0.25],
      ['b2', 0.25],
      ['b3', 0.5],
    ],
  )
  // Five standard deviations of a fair pick of 6000, plus what the ring itself deviates.
  for (const { backend, expected, actual } of backends)
    t.ok(Math.abs(actual - expected) < 5 * Math.sqrt((expected * (1 - expected)) / requests) + 0.001, backend)
  for (const transfer of [download, upload]) t.match(transfer, { bytes: 20 * 1024 * 1024, intact: true })
  t.ok(failover.failed > 0, 'requests to the stopped backend fail')
  t.ok(failover.seconds > 0 && failover.seconds < 10, `for ${failover.seconds} s`)
  t.same(namespacesOf(stderr), [])
})

for (const signal of ['SIGINT', 'SIGKILL'] as const)
  t.test(`${signal} in the middle leaves nothing behind`, { skip }, async t => {
    const demo = spawn(COMMAND[0], [...COMMAND.slice(1)], { stdio: ['ignore', 'pipe', 'ignore'] })
    t.teardown(() => demo.kill('SIGKILL'))
    let output = ''
    await new Promise<void>((resolve, reject) => {
      demo.once('exit', () => reject(new Error(`the demo ended early: ${output}`)))
      demo.stdout.on('data', (text: Buffer) => {
        output += text
        if (output.includes('HTTP requests')) resolve()
      })
    })
    t.not(namespacesOf(output).length, 0, 'the lab is up')
    const exited = new Promise<number | null>(resolve => demo.once('exit', resolve))
    demo.kill(signal)
    t.equal(await exited, signal === 'SIGINT' ? 130 : null)
    // After SIGKILL it is the guard that cleans up: wait for it.
    for (let attempt = 0; attempt < 100 && namespacesOf(output).length > 0; attempt++)
      await new Promise(resolve => setTimeout(resolve, 100))
    t.same(namespacesOf(output), [])
  })
