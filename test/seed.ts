import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { instanceSeed } from '../src/seed.js'

const directory = (t: Test): string => {
  const path = mkdtempSync(join(tmpdir(), 'linimo-seed-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  return path
}

t.test('a seed is made once, kept for its owner alone, and found again', async t => {
  const path = join(directory(t), 'main')
  const seed = instanceSeed(path)
  t.match(seed, /^[0-9a-f]{32}$/)
  t.equal(statSync(join(path, 'seed')).mode & 0o777, 0o600)
  t.equal(instanceSeed(path), seed)
  t.not(instanceSeed(join(path, 'other')), seed)
})

t.test('a seed file that was damaged is named, not replaced', async t => {
  const path = directory(t)
  writeFileSync(join(path, 'seed'), 'short')
  t.throws(() => instanceSeed(path), { code: 'ERR_STATE', message: /seed holds no seed/ })
  t.equal(readFileSync(join(path, 'seed'), 'utf8'), 'short')
})

t.test('a state directory that cannot be made is named', async t => {
  const path = directory(t)
  writeFileSync(join(path, 'file'), '')
  t.throws(() => instanceSeed(join(path, 'file', 'x')), { code: 'ERR_STATE' })
})

t.test('a seed that is pinned is taken where the file is gone, and kept again', async t => {
  const path = directory(t)
  const pinned = '00112233445566778899aabbccddeeff'
  t.equal(instanceSeed(path, { pinned }), pinned)
  t.equal(instanceSeed(path), pinned)
  t.equal(instanceSeed(path, { pinned: pinned.replace('0', 'f') }), pinned, 'the file counts first')
})

t.test('a seed that cannot be kept is said, and nothing is left of it', async t => {
  const path = directory(t)
  mkdirSync(join(path, 'seed.new')) // it is written there first
  const said: string[] = []
  t.throws(() => instanceSeed(path), { code: 'ERR_STATE', message: /seed cannot be written/ })
  const seed = instanceSeed(path, { onUnsaved: ({ code }) => said.push(code) })
  t.match(seed, /^[0-9a-f]{32}$/)
  t.same(said, ['ERR_STATE'])
  t.notOk(existsSync(join(path, 'seed')))
})
