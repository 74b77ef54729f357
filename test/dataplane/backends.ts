/** Which records of backends a control process goes on with that finds the tables of an earlier one. */
import t from 'tap'
import { createTables, type Tables } from '../../src/dataplane/tables.js'
import { skip } from '../fixtures/native.js'
import { loadSmall, webInTurn } from '../fixtures/web.js'

const held = async (tables: Tables): Promise<string[]> =>
  [...(await tables.counts()).values()].flatMap(({ backends }) => [...backends.keys()]).sort()

t.test(
  'a backend that was removed for good stays away from a process that finds the tables',
  { skip },
  async t => {
    const dataplane = await loadSmall()
    t.teardown(() => dataplane.close())
    let now = 0
    let swept: Uint32Array = new Uint32Array(8)
    const open = () =>
      createTables(dataplane, {
        now: () => now,
        sweep: async () => ({ flows: swept, live: 0, removed: 0, exceptions: new Uint32Array(0) }),
      })
    const first = open()
    await first.put([webInTurn([1, 2, 3])])
    await first.put([webInTurn([1, 3])])

    const second = open()
    t.same(await held(second), ['10.0.0.1:80', '10.0.0.3:80'])

    const ids = (tables: Tables) => [1, 2, 3, 4, 5, 6, 7].filter(id => tables.backendOf(id) !== null)
    t.same(ids(second), [1, 3], 'its id is nobody’s')
    await second.put([webInTurn([1, 2, 3])])
    t.same(ids(second), [1, 3, 4], 'when it comes back it has another id')

    // Flows may hold the former id: it is used again once two sweeps have found none.
    const sweep = async () => {
      now += 10_000
      await second.sweep()
    }
    swept = Uint32Array.of(0, 0, 1, 0, 0, 0, 0, 0)
    await sweep()
    await sweep()
    const five = [1, 2, 3, 5, 6]
    await second.put([webInTurn(five)])
    t.same(ids(second), [1, 3, 4, 5, 6])
    swept = new Uint32Array(8)
    await sweep()
    await sweep()
    await second.put([webInTurn([...five, 7, 8])])
    t.same(ids(second), [1, 2, 3, 4, 5, 6, 7])
  },
)
