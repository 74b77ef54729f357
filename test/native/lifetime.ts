import { spawnSync } from 'node:child_process'
import t from 'tap'
import { skip } from '../fixtures/native.js'

interface Asserting {
  same(found: unknown, wanted: unknown, message: string): unknown
}

/** Runs a script in a process of its own, with `native`, `sampleElf`, `u32` and `gc` in scope. */
const survives = (t: Asserting, script: string): void => {
  const imports = `import { native, sampleElf, u32 } from '${new URL('../fixtures/native.js', import.meta.url)}'`
  const { status, signal, stderr } = spawnSync(
    process.execPath,
    [...process.execArgv, '--expose-gc', '--input-type=module', '--eval', `${imports}\n${script}`],
    { encoding: 'utf8', timeout: 60_000 },
  )
  t.same({ status, signal }, { status: 0, signal: null }, stderr)
}

t.test('maps, mappings and programs can be garbage at any time', { skip }, async t => {
  survives(
    t,
    `for (let round = 0; round < 20; round++) {
       let object = new native.BpfObject(sampleElf)
       await object.load()
       let map = object.map('shared_array')
       let program = object.program('sample')
       const words = new Uint32Array(await map.mmap())
       for (let i = 0; i < 50; i++) await map.mmap()
       const running = [map.lookupBatch(), program.testRun({ data: new Uint8Array(64), repeat: 10_000 })]
       object = map = program = undefined
       gc()
       await Promise.all(running)
       gc()
       words[7 * 4] = round
       if (words[7 * 4] !== round) process.exit(1)
     }
     gc()
     await new Promise(resolve => setImmediate(resolve))
     const { readFileSync } = await import('node:fs')
     const mapped = readFileSync('/proc/self/maps', 'utf8').split('\\n').filter(line => line.includes('bpf-map'))
     if (mapped.length > 100) throw new Error(mapped.length + ' mappings left of 1020')`,
  )
})

t.test('the arrays of a batch stay while it runs', { skip }, async t => {
  survives(
    t,
    `const object = new native.BpfObject(sampleElf)
     await object.load()
     const map = object.map('shared_array')
     for (let round = 0; round < 20; round++) {
       const numbers = Array.from({ length: 1000 }, (_, i) => i)
       const writing = map.updateBatch(u32(...numbers), u32(...numbers.flatMap(i => [i, round, i])))
       gc()
       await writing
       const { values } = await map.lookupBatch()
       gc()
       const words = new Uint32Array(values.buffer)
       for (let i = 0; i < 1000; i++) if (words[i * 3] !== i || words[i * 3 + 1] !== round) process.exit(1)
     }`,
  )
})

t.test('a worker thread has the addon to itself, and takes its subscription along', { skip }, async t => {
  survives(
    t,
    `const { Worker } = await import('node:worker_threads')
     const { createRequire } = await import('node:module')
     const addon = createRequire(import.meta.url).resolve(${JSON.stringify(
       new URL('../../build/native/Release/linimo.node', import.meta.url).pathname,
     )})
     for (let round = 0; round < 5; round++) {
       const worker = new Worker(
         \`const native = require('\${addon}')
          const netlink = new native.Netlink()
          netlink.subscribe(() => {})
          netlink.links().then(links => require('node:worker_threads').parentPort.postMessage(links.length))
          setInterval(() => {}, 1000)\`,
         { eval: true, execArgv: [] })
       const links = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
       if (links < 1) process.exit(1)
       await worker.terminate()
     }`,
  )
})

t.test('a netlink that is forgotten without a subscription is collected', { skip }, async t => {
  survives(
    t,
    `const { readdirSync } = await import('node:fs')
     const before = readdirSync('/proc/self/fd').length
     for (let i = 0; i < 100; i++) new native.Netlink()
     gc()
     await new Promise(resolve => setImmediate(resolve))
     const after = readdirSync('/proc/self/fd').length
     if (after > before + 30) throw new Error(after - before + ' descriptors left of 300')`,
  )
})
