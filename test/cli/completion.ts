import { execFileSync } from 'node:child_process'
import t from 'tap'
import { linimo } from './fixtures/run.js'

/** What bash offers after these words; the last one is begun. */
const complete = async (...words: readonly string[]): Promise<readonly string[]> => {
  const { stdout } = await linimo(['completion', 'bash'])
  const quoted = ['linimo', ...words].map(word => `'${word}'`).join(' ')
  const script = `${stdout}\nCOMP_WORDS=(${quoted}) COMP_CWORD=${words.length}\n_linimo\nprintf '%s\\n' "\${COMPREPLY[@]}"`
  return execFileSync('bash', ['-c', script], { encoding: 'utf8' }).trim().split('\n')
}

t.test('bash completes nouns, verbs and options', async t => {
  t.same(await complete('bac'), ['backend'])
  t.same((await complete('backend', '')).slice(0, 5), ['list', 'show', 'add', 'set', 'remove'])
  t.ok((await complete('backend', '')).includes('drain'))
  t.same(await complete('backend', 'drain', 'web/b1', '--dead'), ['--deadline'])
  t.same(await complete('be', ''), await complete('backend', ''))
  t.same(await complete('backend', 'set', 'web/b1', '--w'), ['--weight'])
  t.same(await complete('--socket', '/run/x', 'backend', 'a'), ['add'])
  t.same((await complete('flow', '')).slice(0, 3), ['list', 'count', 'drop'])
  t.same(await complete('flow', 'drop', '--al'), ['--all'])
  t.ok((await complete('status', '--')).includes('--wait'))
})
