/** Puts faults into copies of bpf/, one each, and requires that the differential test sees every one. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { type Comparison, compare } from '../fixtures/compare.js'
import { openDataPlane } from '../fixtures/data-plane.js'
import { chosenSeed, seededRandom } from '../fixtures/random.js'
import { mixedTables } from '../fixtures/tables.js'
import { compile } from './compile.js'
import { type Fault, faults } from './faults.js'

const BPF = fileURLToPath(new URL('../../bpf', import.meta.url))
const FRAMES = 30_000
const seed = chosenSeed(20_240_117)

const putIn = (directory: string, { file, search, replace }: Fault): void => {
  const path = join(directory, file)
  const parts = readFileSync(path, 'utf8').split(search)
  if (parts.length !== 2) throw new Error(`bpf/${file} has ${parts.length - 1} times, not once: ${search}`)
  writeFileSync(path, parts.join(replace))
}

/** The differential test, against bpf/ with this fault; ends at the first difference. */
const compareWith = async (fault: Fault | null): Promise<Comparison> => {
  const directory = mkdtempSync(join(tmpdir(), 'linimo-mutant-'))
  try {
    cpSync(BPF, directory, { recursive: true })
    if (fault !== null) putIn(directory, fault)
    const tables = mixedTables()
    const dataPlane = await openDataPlane(tables, { object: compile(directory) })
    try {
      return compare(dataPlane, tables, seededRandom(seed), FRAMES, 1)
    } finally {
      dataPlane.close()
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

t.comment(`LINIMO_SEED=${seed}`)

t.test('the data plane without a fault agrees with the model', async t => {
  const { frames, differences } = await compareWith(null)
  t.same(differences, [])
  t.equal(frames, FRAMES)
})

for (const fault of faults)
  t.test(`seen: ${fault.description}`, async t => {
    const { frames, differences } = await compareWith(fault)
    t.equal(differences.length, 1, `after ${frames} frames`)
  })
