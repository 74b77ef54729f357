import t from 'tap'
import { createTurns } from '../../src/dataplane/turns.js'

t.test('each waits for the one before, also for one that fails', async t => {
  const inTurn = createTurns()
  const seen: string[] = []
  let end = (): void => {}
  const first = inTurn(async () => {
    seen.push('first')
    await new Promise<void>(resolve => {
      end = resolve
    })
    seen.push('first ends')
    throw new Error('first')
  })
  const second = inTurn(async () => {
    seen.push('second')
    return 2
  })
  await new Promise(resolve => setImmediate(resolve))
  t.same(seen, ['first'])
  end()
  await t.rejects(first, /first/)
  t.equal(await second, 2)
  t.same(seen, ['first', 'first ends', 'second'])
})
