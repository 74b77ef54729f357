import { EventEmitter } from 'node:events'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import t from 'tap'
import { readChecked } from '../src/journal-file.js'
import { createJournalWriter, type WriteAnswer, type WriteJob } from '../src/journal-writer.js'

const FORMAT = { name: 'test 1' }
const jobFor = (path: string, body: string): WriteJob => ({ path, format: FORMAT, body, mode: 0o600 })

/** A thread in name only, told what to do by the test. */
const standIn = () => {
  const thread = Object.assign(new EventEmitter(), {
    jobs: [] as WriteJob[],
    isHolding: true,
    ref: () => {
      thread.isHolding = true
    },
    unref: () => {
      thread.isHolding = false
    },
    postMessage: (job: WriteJob) => void thread.jobs.push(job),
  })
  return thread
}

t.test(
  'what is written is on the disk when the answer comes, whole and in the order of the calls',
  async t => {
    const writer = createJournalWriter()
    const path = join(t.testdir(), 'made', 'journal')
    const answers = await Promise.all(['one', 'two', 'three'].map(body => writer.write(jobFor(path, body))))
    t.same(answers, [{ error: null }, { error: null }, { error: null }])
    t.same(readChecked(path, FORMAT), { body: 'three', warning: null })
    t.match(readFileSync(path, 'utf8'), /^test 1 [0-9a-f]{64}\nthree$/)
  },
)

t.test("what cannot be written is answered with the system's code, and the next one is written", async t => {
  const writer = createJournalWriter()
  const directory = t.testdir()
  mkdirSync(join(directory, 'taken.tmp'))
  t.same(await writer.write(jobFor(join(directory, 'taken'), 'x')), { error: 'EISDIR' })
  t.same(await writer.write(jobFor(join(directory, 'free'), 'x')), { error: null })
})

t.test('a thread that dies fails what it was given, and the next write starts another', async t => {
  const threads: ReturnType<typeof standIn>[] = []
  const writer = createJournalWriter(() => {
    const thread = standIn()
    threads.push(thread)
    return thread as unknown as Worker
  })
  writer.start()
  writer.start()
  t.equal(threads.length, 1, 'one thread, however often it is started')
  t.notOk(threads[0]!.isHolding, 'that holds up no end of the process')
  const lost = [writer.write(jobFor('a', '1')), writer.write(jobFor('a', '2'))]
  t.ok(threads[0]!.isHolding, 'but until all is written')
  threads[0]!.emit('error', new Error('out of memory'))
  threads[0]!.emit('exit', 1)
  t.match(await Promise.all(lost), [{ error: /out of memory/ }, { error: /out of memory/ }])

  const next = writer.write(jobFor('a', '3'))
  t.equal(threads.length, 2)
  t.equal(threads[1]!.jobs[0]!.body, '3')
  const answer: WriteAnswer = { error: null }
  threads[1]!.emit('message', answer)
  t.same(await next, answer)
  t.notOk(threads[1]!.isHolding)
})
