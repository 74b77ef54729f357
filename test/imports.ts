import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Files below a folder, as paths from the root. */
const filesOf = (folder: string, ending: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith(ending))
    .map(name => join(folder, name))

const importsOf = (file: string): string[] =>
  [...readFileSync(join(root, file), 'utf8').matchAll(/(?:from|import\() ?'(\.[^']+)'/g)].map(([, path]) =>
    normalize(join(dirname(file), path!)).replace(/\.js$/, '.ts'),
  )

/** What is pure, or close to it, knows nothing of who uses it. */
const mayImport: Readonly<Record<string, readonly RegExp[]>> = {
  'src/model.ts': [],
  'src/errors.ts': [],
  'src/address.ts': [],
  'src/ring.ts': [/^src\/(errors|ring\/.*)\.ts$/],
  'src/reconcile.ts': [/^src\/(model|identities|differing|control\/protocol)\.ts$/],
  'src/admin.ts': [/^src\/model\.ts$/],
  'src/standing.ts': [/^src\/(admin|model|next-hop|health\/judge)\.ts$/],
  'src/impact.ts': [/^src\/(model|control\/protocol)\.ts$/],
  'src/health/judge.ts': [/^src\/(model|health\/probe)\.ts$/],
  'src/native.ts': [/^src\/errors\.ts$/, /^native\/index\.ts$/],
}

for (const [file, allowed] of Object.entries(mayImport))
  t.test(`${file} knows only what lies below it`, async t => {
    t.same(
      importsOf(file).filter(path => !allowed.some(one => one.test(path))),
      [],
    )
  })

t.test('the command line reaches a daemon by the client alone', async t => {
  const beyond = filesOf('src/cli', '.ts').flatMap(file =>
    readFileSync(join(root, file), 'utf8')
      .split('\n')
      .filter(line =>
        /^import .* from '\.\.\/(balancer|daemon|handlers|dataplane|control\/server)/.test(line),
      )
      .map(line => `${file}: ${line}`),
  )
  t.same(beyond, [])
})

t.test('native code and data plane include nothing of each other, nor of src', async t => {
  const foreign = [
    ...filesOf('native', '.cc'),
    ...filesOf('native', '.h'),
    ...filesOf('bpf', '.h'),
    ...filesOf('bpf', '.c'),
  ].filter(file => /#include "(\.\.|.*(bpf|native|src)\/)/.test(readFileSync(join(root, file), 'utf8')))
  t.same(foreign, [])
})

t.test('the word service does not occur in native code', async t => {
  const files = [...filesOf('native', '.cc'), ...filesOf('native', '.h')]
  t.ok(files.length > 10)
  t.same(
    files.filter(file => /service/i.test(readFileSync(join(root, file), 'utf8'))),
    [],
  )
})
