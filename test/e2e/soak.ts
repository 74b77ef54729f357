/** The soak, short, by direct routing and by tunnels: `npm run soak -- --minutes N --forward ipip` is a long one. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { chosenSeed } from '../fixtures/random.js'
import { skip } from '../fixtures/site.js'

const RUN = fileURLToPath(new URL('../soak/run.ts', import.meta.url))

for (const [forward, minutes] of [
  ['dr', 0.5],
  ['mixed', 0.5], // IPIP to some backends, GUE to others
] as const)
  t.test(
    `${forward}: connections outlive every change but the death of their backend`,
    { skip, timeout: 175_000 },
    async t => {
      const seed = chosenSeed(Date.now() >>> 0)
      const args = [
        '--import',
        'tsx',
        RUN,
        '--minutes',
        String(minutes),
        '--forward',
        forward,
        '--seed',
        String(seed),
      ]
      const soak = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
      t.teardown(() => soak.kill('SIGTERM'))
      let text = ''
      soak.stdout.setEncoding('utf8').on('data', (more: string) => {
        text += more
      })
      const [code] = await once(soak, 'close')
      t.comment(text)
      t.match(
        text,
        /connections broken that should not have been: 0; ended because their backend died: [1-9]/,
        'and some backends died',
      )
      t.match(text, /cut by an order: [1-9]/)
      t.equal(code, 0, `LINIMO_SEED=${seed}`)
    },
  )
