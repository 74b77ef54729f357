import t from 'tap'
import { createChanges } from '../src/changes.js'
import { parseConfig } from '../src/config.js'
import { wantedBy, withOrder } from '../src/wanted.js'

const initial = wantedBy(parseConfig('{ interfaces: [lo], services: {} }').config)
const order = (key: string) => (present: typeof initial) =>
  withOrder(present, key, { state: 'disabled', sinceMs: 0 })

t.test('each change builds on those under way', async t => {
  const changes = createChanges(initial)
  const [a, b] = [changes.begin(order('a')), changes.begin(order('b'))]
  t.equal(b.before, a.after)
  t.same([...changes.wanted().orders.keys()], ['a', 'b'])
  b.settle()
  a.settle()
  t.equal(changes.wanted(), b.after)
})

t.test('one that fails is left out, in whatever order they end', async t => {
  for (const isLaterFirst of [true, false]) {
    const changes = createChanges(initial)
    const [a, b, c] = ['a', 'b', 'c'].map(key => changes.begin(order(key)))
    if (isLaterFirst) c!.settle()
    b!.takeBack()
    if (!isLaterFirst) c!.settle()
    t.same([...changes.wanted().orders.keys()], ['a', 'c'])
    a!.takeBack()
    t.same([...changes.wanted().orders.keys()], ['c'])
  }
})

t.test('what made sense only with one that failed fails as well', async t => {
  const changes = createChanges(initial)
  const a = changes.begin(order('a'))
  const onA = changes.begin(present => {
    if (!present.orders.has('a')) throw new Error('there is no a')
    return withOrder(present, 'a', null)
  })
  a.takeBack()
  t.throws(() => onA.settle(), { message: 'there is no a' })
  onA.takeBack()
  t.equal(changes.wanted(), initial)
})

t.test('one that changes nothing has nothing to be taken back', async t => {
  const changes = createChanges(initial)
  const none = changes.begin(present => present)
  const a = changes.begin(order('a'))
  none.takeBack()
  a.settle()
  t.equal(changes.wanted(), a.after)
})
