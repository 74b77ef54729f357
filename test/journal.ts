import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { parseConfig } from '../src/config.js'
import { driftOf, withDrift } from '../src/drift.js'
import { openJournal } from '../src/journal.js'
import { journalWriter } from '../src/journal-writer.js'
import type { Backend, Config } from '../src/model.js'
import { type Wanted, wantedBy, withOrder } from '../src/wanted.js'
import { keepLog, temporaryDirectory } from './control/fixtures/daemon.js'

const WEB = '192.0.2.10:80/tcp'
const text = (...backends: readonly object[]): string =>
  JSON.stringify({ interfaces: ['eth0'], services: { web: { vip: '192.0.2.10', port: 80, backends } } })
const file = (...backends: readonly object[]) => {
  const written = text(...backends)
  return { text: written, config: parseConfig(written).config }
}
const b1 = { name: 'b1', address: '10.0.0.1' }
const b2 = { name: 'b2', address: '10.0.0.2' }
const b3 = { name: 'b3', address: '10.0.0.3' }
const key = (address: string) => `${WEB} ${address}:80`

/** Two clocks that go together, and a restart that begins the monotonic one anew. */
const createClocks = () => {
  let now = 5000
  let wall = 1_700_000_000_000
  return {
    clocks: { now: () => now, wall: () => wall },
    pass: (ms: number) => {
      now += ms
      wall += ms
    },
    restart: () => {
      now = 100
    },
  }
}

const withBackends = (
  config: Config,
  change: (backends: readonly Backend[]) => readonly Backend[],
): Config => ({
  ...config,
  services: config.services.map(service => ({ ...service, backends: change(service.backends) })),
})

const changedWanted = (base: Config): Wanted => {
  const config = withBackends(base, ([first, second]) => [
    { ...first!, weight: 0, ringWeight: 3 },
    { ...second!, name: 'b9', address: '10.0.0.9' },
  ])
  const drained = withOrder({ ...wantedBy(base), config }, key('10.0.0.9'), {
    state: 'draining',
    sinceMs: 4000,
    deadlineMs: 60_000,
  })
  const leaving = new Map([
    [key('10.0.0.2'), { service: WEB, backend: base.services[0]!.backends[1]!, sinceMs: 3000 }],
  ])
  return { ...drained, leaving }
}

t.test('what was changed at run time is there again after a restart', async t => {
  const directory = join(temporaryDirectory(t), 'state')
  const { clocks, pass, restart } = createClocks()
  const own = file(b1, b2)
  const journal = openJournal(directory, clocks, keepLog())
  const wanted = changedWanted(own.config)
  t.equal(await journal.save(wanted), null)
  t.match(journal.status(), { entries: 4, error: null })

  pass(10_000)
  restart()
  const again = openJournal(directory, clocks, keepLog()).replay(file(b1, b2))
  t.same(again.warnings, [])
  t.same(again.wanted.config, wanted.config)
  t.same(again.wanted.base, own.config)
  t.same(
    [...again.wanted.orders],
    [[key('10.0.0.9'), { state: 'draining', sinceMs: 100 - 11_000, deadlineMs: 60_000 }]],
  )
  t.match([...again.wanted.leaving], [[key('10.0.0.2'), { sinceMs: 100 - 12_000, backend: { name: 'b2' } }]])
})

t.test('without a journal the file alone counts', async t => {
  const own = file(b1)
  const found = openJournal(temporaryDirectory(t), createClocks().clocks, keepLog()).replay(own)
  t.same(found, { wanted: wantedBy(own.config), warnings: [] })
})

t.test('what is changed back leaves nothing', async t => {
  const directory = temporaryDirectory(t)
  const journal = openJournal(directory, createClocks().clocks, keepLog())
  const { config } = file(b1, b2)
  await journal.save(changedWanted(config))
  await journal.save(wantedBy(config))
  t.equal(journal.status().entries, 0)
  t.same(
    openJournal(directory, createClocks().clocks, keepLog()).replay(file(b1, b2)).wanted,
    wantedBy(config),
  )
})

t.test('entries that no longer apply are named and dropped, the others stay', async t => {
  const directory = temporaryDirectory(t)
  const journal = openJournal(directory, createClocks().clocks, keepLog())
  await journal.save(changedWanted(file(b1, b2).config))
  const edited = file(b3, { name: 'b9', address: '10.0.0.8' })
  const { wanted, warnings } = openJournal(directory, createClocks().clocks, keepLog()).replay(edited)
  t.match(warnings, [
    /web\/b1 no longer applies: the configuration has no backend 10.0.0.1:80/,
    /web\/b9 no longer applies: its name is that of another backend/,
    /web\/b9 is not draining any more/,
  ])
  t.same(wanted.config, edited.config)
  const gone = openJournal(directory, createClocks().clocks, keepLog()).replay({
    text: '',
    config: parseConfig('interfaces: [eth0]\n').config,
  })
  t.match(gone.warnings, [
    /has no service 192.0.2.10:80\/tcp/,
    /web\/b1/,
    /web\/b9/,
    /web\/b9 is not draining/,
  ])
  t.equal(gone.wanted.leaving.size, 0)
})

t.test('what the file says itself is no drift any more', async t => {
  const directory = temporaryDirectory(t)
  const { config } = file(b1, b2)
  const added = withBackends(config, backends => [
    ...backends,
    { name: 'b3', address: '10.0.0.3', port: null, weight: 1, mac: null },
  ])
  await openJournal(directory, createClocks().clocks, keepLog()).save({ ...wantedBy(config), config: added })
  const folded = openJournal(directory, createClocks().clocks, keepLog()).replay(file(b1, b2, b3))
  t.same(folded.warnings, [])
  t.same(driftOf(folded.wanted.base, folded.wanted.config), [])
})

t.test('a configuration that was applied over the socket holds until the file is edited', async t => {
  const directory = temporaryDirectory(t)
  const own = file(b1)
  const other = file(b1, b2)
  const { textDigest } = await import('../src/journal.js')
  await openJournal(directory, createClocks().clocks, keepLog()).save({
    ...wantedBy(other.config),
    applied: { text: other.text, fileDigest: textDigest(own.text) },
  })
  const kept = openJournal(directory, createClocks().clocks, keepLog()).replay(own)
  t.same([kept.wanted.config, kept.warnings], [other.config, []])
  const edited = openJournal(directory, createClocks().clocks, keepLog()).replay(file(b3))
  t.same(edited.wanted.config, file(b3).config)
  t.match(edited.warnings, [/the file was edited/])
})

t.test('a journal damaged or cut anywhere is named, kept aside, and does not count', async t => {
  const directory = temporaryDirectory(t)
  const path = join(directory, 'journal')
  const own = file(b1, b2)
  await openJournal(directory, createClocks().clocks, keepLog()).save(changedWanted(own.config))
  const whole = readFileSync(path)
  const isRefused = (bytes: Uint8Array): boolean => {
    writeFileSync(path, bytes)
    const { wanted, warnings } = openJournal(directory, createClocks().clocks, keepLog()).replay(own)
    return (
      warnings.length === 1 &&
      warnings[0]!.includes('journal is damaged') &&
      !existsSync(path) &&
      readFileSync(`${path}.damaged`).equals(bytes) &&
      wanted.config === own.config
    )
  }
  const broken: string[] = []
  for (let at = 0; at < whole.length; at++) {
    if (!isRefused(whole.subarray(0, at))) broken.push(`cut at ${at}`)
    const flipped = Buffer.from(whole)
    flipped[at]! ^= 1 << (at % 8)
    if (!isRefused(flipped)) broken.push(`changed at ${at}`)
  }
  t.same(broken, [])
  t.ok(isRefused(Buffer.concat([whole, Buffer.from('x')])), 'longer')
  writeFileSync(path, whole)
  t.same(openJournal(directory, createClocks().clocks, keepLog()).replay(own).warnings, [])
})

t.test('a journal of another version is kept aside too', async t => {
  const directory = temporaryDirectory(t)
  const { encodeChecked } = await import('../src/journal-file.js')
  writeFileSync(join(directory, 'journal'), encodeChecked({ name: 'linimo-journal 1' }, '{"later":true}'))
  const { warnings } = openJournal(directory, createClocks().clocks, keepLog()).replay(file(b1))
  t.match(warnings, [/journal is not understood, and not used: kept as journal.damaged/])
})

t.test('where it cannot be written the change stands, the reason is told, and it is tried again', async t => {
  const parent = temporaryDirectory(t)
  const directory = join(parent, 'state')
  writeFileSync(directory, 'a file where the directory should be')
  const log = keepLog()
  const journal = openJournal(directory, createClocks().clocks, log)
  const wanted = changedWanted(file(b1, b2).config)
  t.match(await journal.save(wanted), /journal cannot be written \(E/)
  t.match(await journal.save(wanted), /journal cannot be written \(E/)
  t.equal(log.lines.filter(({ level }) => level === 'warn').length, 1, 'said once')
  t.match(journal.status().error, /cannot be written/)
  const { rmSync } = await import('node:fs')
  rmSync(directory)
  t.equal(await journal.save(wanted), null)
  t.equal(journal.status().error, null)
})

t.test('a journal that cannot be read is a warning', async t => {
  const directory = temporaryDirectory(t)
  mkdirSync(join(directory, 'journal'))
  chmodSync(directory, 0o700)
  const { warnings } = openJournal(directory, createClocks().clocks, keepLog()).replay(file(b1))
  t.match(warnings, [/journal cannot be read \(EISDIR\)/])
})

t.test('changes that come together are written together, and the last counts', async t => {
  const directory = temporaryDirectory(t)
  const { config } = file(b1, b2)
  const journal = openJournal(directory, createClocks().clocks, keepLog())
  const weights = Array.from({ length: 50 }, (_, weight) =>
    journal.save({
      ...wantedBy(config),
      config: withBackends(config, ([first, second]) => [{ ...first!, weight: weight + 2 }, second!]),
    }),
  )
  t.same(new Set(await Promise.all(weights)), new Set([null]))
  const { wanted } = openJournal(directory, createClocks().clocks, keepLog()).replay(file(b1, b2))
  t.equal(wanted.config.services[0]!.backends[0]!.weight, 51)
})

t.test('at the end of a process its last change is on the disk, or never comes there', async t => {
  const stateDir = temporaryDirectory(t)
  const { clocks } = createClocks()
  const log = keepLog()
  const { config } = file(b1, b2)
  const journal = openJournal(stateDir, clocks, log)
  void journal.save(changedWanted(config))
  await journal.end()
  const path = join(stateDir, 'journal')
  const written = readFileSync(path, 'utf8')
  t.match(written, /10\.0\.0\.9/)

  // A disk that hangs: nobody reads what is to be replaced.
  execFileSync('mkfifo', [`${path}.tmp`])
  const slow = openJournal(stateDir, clocks, log)
  t.match(await slow.save(wantedBy(config)), /is not written yet/)
  await slow.end(10)
  t.match(
    log.lines.filter(({ level }) => level === 'error'),
    [{ fields: { event: 'journal.lost' } }],
  )
  const disk = openSync(`${path}.tmp`, constants.O_RDONLY | constants.O_NONBLOCK)
  t.teardown(() => closeSync(disk))
  await journalWriter.giveUp()
  t.equal(readFileSync(disk, 'utf8'), '', 'the thread that waited for the disk has ended')
  t.match(await slow.save(changedWanted(config)), /given up/)
  t.equal(readFileSync(path, 'utf8'), written)
})

t.test('put onto the same configuration, a drift gives what it was taken from', async t => {
  const backend = (host: number) =>
    fc.record({
      name: fc.constant(`b${host}`),
      address: fc.constant(`10.0.0.${host}`),
      port: fc.constant(null),
      weight: fc.nat(5),
      mac: fc.constantFrom(null, '02:00:00:00:00:0c'),
    })
  const backends = fc
    .uniqueArray(fc.integer({ min: 1, max: 9 }))
    .chain(hosts => fc.tuple(...hosts.map(backend)))
  const byName = (config: Config) =>
    config.services.map(service => service.backends.toSorted((a, b) => (a.name < b.name ? -1 : 1)))
  fc.assert(
    fc.property(backends, backends, (before, after) => {
      const { config } = file()
      const [base, wanted] = [withBackends(config, () => before), withBackends(config, () => after)]
      const { config: replayed, warnings } = withDrift(base, driftOf(base, wanted))
      t.same(warnings, [])
      t.same(byName(replayed), byName(wanted))
    }),
    { numRuns: 100 },
  )
})
