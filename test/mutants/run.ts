/**
 * Puts faults into copies of the sources, one each, and requires that each is seen: those of bpf/ by the differential
 * test or by the comparison with the flow cache's rules, those of src/ by a test of theirs.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { compareRecall } from '../affinity/fixtures/recall-compare.js'
import { openWorld } from '../affinity/fixtures/world.js'
import { playHistory } from '../connections/fixtures/history.js'
import { openSite } from '../connections/fixtures/site.js'
import { type Comparison, compare } from '../fixtures/compare.js'
import { connectionTables } from '../fixtures/connection-tables.js'
import { openDataPlane } from '../fixtures/data-plane.js'
import { chosenSeed, seededRandom } from '../fixtures/random.js'
import { mixedTables } from '../fixtures/tables.js'
import { compile } from './compile.js'
import { connectionFaults } from './connection-faults.js'
import { controlFaults, MODEL } from './control-faults.js'
import { type Fault, faults } from './faults.js'
import { flowFaults } from './flow-faults.js'
import { messageFaults } from './message-faults.js'
import { natFaults } from './nat-faults.js'
import { tunnelFaults } from './tunnel-faults.js'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const FRAMES = 60_000
const PACKETS = 12_000
const HISTORY = 60_000
const seed = chosenSeed(20_240_117)

const putIn = (directory: string, { file, search, replace }: Fault): void => {
  const path = join(directory, file)
  const parts = readFileSync(path, 'utf8').split(search)
  if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times, not once: ${search}`)
  writeFileSync(path, parts.join(replace))
}

const inCopy = async <T>(use: (directory: string) => T | Promise<T>): Promise<T> => {
  const directory = mkdtempSync(join(tmpdir(), 'linimo-mutant-'))
  try {
    return await use(directory)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** The object of bpf/ with this fault. */
const objectWith = (fault: Fault | null): Promise<Uint8Array> =>
  inCopy(directory => {
    cpSync(join(ROOT, 'bpf'), directory, { recursive: true })
    if (fault !== null) putIn(directory, fault)
    return compile(directory)
  })

/** The differential test, against bpf/ with this fault; ends at the first difference. */
const compareWith = async (fault: Fault | null): Promise<Comparison> => {
  const tables = mixedTables()
  const dataPlane = await openDataPlane(tables, { object: await objectWith(fault) })
  try {
    return compare(dataPlane, tables, seededRandom(seed), FRAMES, 1)
  } finally {
    dataPlane.close()
  }
}

/** The rules of tracked slots, against bpf/ with this fault; ends at the first difference. */
const recallWith = async (t: Test, fault: Fault | null): Promise<readonly unknown[]> => {
  const world = await openWorld(t, { object: await objectWith(fault) })
  return compareRecall(world, seededRandom(seed), PACKETS, 1)
}

/** The laws of connections, against bpf/ with this fault; ends at the first that is broken. */
const connectionsWith = async (t: Test, fault: Fault | null): Promise<readonly string[]> => {
  const tables = connectionTables()
  const site = await openSite(t, tables, await objectWith(fault))
  return playHistory(site, tables, seededRandom(seed), HISTORY).broken
}

/** One file of test/affinity, with this fault in src/. */
const testWith = (
  test: string,
  fault: Fault | null,
): Promise<{ readonly status: number | null; text: string }> =>
  inCopy(directory => {
    mkdirSync(join(directory, 'test'))
    const tests = ['affinity', 'control', 'fixtures', 'model'].map(name => join('test', name))
    for (const name of ['src', ...tests, 'package.json', 'tsconfig.json'])
      cpSync(join(ROOT, name), join(directory, name), { recursive: true })
    for (const name of ['node_modules', 'build']) symlinkSync(join(ROOT, name), join(directory, name))
    if (fault !== null) putIn(join(directory, 'src'), fault)
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', join(directory, 'test/affinity', test)],
      {
        cwd: directory,
        encoding: 'utf8',
        timeout: 200_000,
        env: { ...process.env, LINIMO_SEED: String(seed), TAP_TIMEOUT: '200' },
      },
    )
    return { status, text: stdout + stderr }
  })

t.comment(`LINIMO_SEED=${seed}`)

t.test('the data plane without a fault agrees with the model', async t => {
  const { frames, differences } = await compareWith(null)
  t.same(differences, [])
  t.equal(frames, FRAMES)
})

for (const fault of [...faults, ...tunnelFaults, ...messageFaults, ...natFaults])
  t.test(`seen: ${fault.description}`, async t => {
    const { frames, differences } = await compareWith(fault)
    t.equal(differences.length, 1, `after ${frames} frames`)
  })

t.test('the flow cache without a fault keeps its rules', async t => {
  t.same(await recallWith(t, null), [])
})

for (const fault of flowFaults)
  t.test(`seen: ${fault.description}`, async t => {
    t.equal((await recallWith(t, fault)).length, 1)
  })

t.test('connections without a fault keep their laws', async t => {
  t.same(await connectionsWith(t, null), [])
})

for (const fault of connectionFaults)
  t.test(`seen: ${fault.description}`, async t => {
    t.not((await connectionsWith(t, fault)).length, 0)
  })

// The model without a fault is a test by itself.
for (const test of new Set(controlFaults.map(({ test }) => test).filter(test => test !== MODEL)))
  t.test(`${test} finds nothing where there is no fault`, async t => {
    const { status, text } = await testWith(test, null)
    t.equal(status, 0, text)
  })

for (const fault of controlFaults)
  t.test(`seen: ${fault.description}`, async t => {
    const { status, text } = await testWith(fault.test, fault)
    t.not(status, 0)
    const failed = fault.test === MODEL ? /^ *not ok \d+ - LINIMO_SEED=/m : /^ *not ok/m
    t.match(text, failed, 'a test has failed, and not its set-up')
  })
