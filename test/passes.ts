import t from 'tap'
import { createPasses, noFailures } from '../src/passes.js'

const later = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

t.test('what comes together is taken up together', async t => {
  const passes: string[][] = []
  const changed = createPasses(async names => {
    passes.push([...names].sort())
    return noFailures
  })
  await Promise.all([changed(['a']), changed(['b', 'a']), changed(['c'])])
  t.same(passes, [['a', 'b', 'c']])
})

t.test('what comes while a pass runs waits for the next, and only then is it settled', async t => {
  const passes: string[][] = []
  let release = (): void => {}
  const changed = createPasses(async names => {
    passes.push([...names])
    if (passes.length === 1)
      await new Promise<void>(resolve => {
        release = resolve
      })
    return noFailures
  })
  const first = changed(['a'])
  while (passes.length === 0) await later()
  let isSettled = false
  const second = changed(['b']).then(() => {
    isSettled = true
  })
  await later()
  t.same([passes, isSettled], [[['a']], false])
  release()
  await Promise.all([first, second])
  t.same(passes, [['a'], ['b']])
})

t.test('a pass that fails fails those who wait for it, and nobody else', async t => {
  let fails = true
  const changed = createPasses(async () => {
    if (fails) throw new Error('no room')
    return noFailures
  })
  await t.rejects(changed(['a']), { message: 'no room' })
  fails = false
  await t.resolves(changed(['a']))
})

t.test('a pass that fails for one name fails only those who wait for it', async t => {
  const changed = createPasses(async () => new Map([['dns', new Error('no room')]]))
  const [web, dns, both] = await Promise.allSettled([
    changed(['web']),
    changed(['dns']),
    changed(['web', 'dns']),
  ])
  t.same([web?.status, dns?.status, both?.status], ['fulfilled', 'rejected', 'rejected'])
})
