import { readFileSync } from 'node:fs'
import t from 'tap'

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')

t.test('the config that the README shows is the one that the demo runs', async t => {
  t.ok(read('README.md').includes(`\`\`\`yaml\n${read('demo/linimo.yaml')}\`\`\``))
})
