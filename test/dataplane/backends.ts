/** Which records of backends a control process goes on with that finds the tables of an earlier one. */
import t from 'tap'
import { parseConfig } from '../../src/config.js'
import { Dataplane, shapeFor } from '../../src/dataplane/dataplane.js'
import { createTables, type Tables, type WantedService } from '../../src/dataplane/tables.js'
import { backendIdentity, type Service } from '../../src/model.js'
import { skip } from '../fixtures/native.js'

const SEED = '000102030405060708090a0b0c0d0e0f'
const SIZE = 251

const service = (addresses: readonly string[]): Service => {
  const backends = addresses.map(address => `      - { address: ${address} }`).join('\n')
  const { config } = parseConfig(
    `interfaces: [lo]\nservices:\n  web:\n    vip: 192.0.2.10\n    port: 80\n    protocol: tcp\n    ring-size: ${SIZE}\n    backends:\n${backends}\n`,
  )
  return config.services[0]!
}

/** All slots in turn. */
const wanted = (addresses: readonly string[]): WantedService => {
  const one = service(addresses)
  return {
    service: one,
    backends: one.backends.map(backend => ({
      identity: backendIdentity(one, backend),
      address: backend.address,
      port: 80,
      isDead: false,
      isDraining: false,
      nextHop: null,
    })),
    owners: Int32Array.from({ length: SIZE }, (_, slot) => slot % addresses.length),
  }
}

const held = async (tables: Tables): Promise<string[]> =>
  [...(await tables.counts()).values()].flatMap(({ backends }) => [...backends.keys()]).sort()

t.test(
  'a backend that was removed for good stays away from a process that finds the tables',
  { skip },
  async t => {
    const dataplane = await Dataplane.load(
      shapeFor({ services: 4, backends: 8, slots: 1024, flows: 4096 }, SEED, {
        interfaces: 16,
        rejectsPerSecond: 0,
        tracking: true,
      }),
    )
    t.teardown(() => dataplane.close())
    let now = 0
    let swept: Uint32Array = new Uint32Array(8)
    const open = () =>
      createTables(dataplane, {
        now: () => now,
        sweep: async () => ({ flows: swept, live: 0, removed: 0, exceptions: new Uint32Array(0) }),
      })
    const first = open()
    await first.put([wanted(['10.0.0.1', '10.0.0.2', '10.0.0.3'])])
    await first.put([wanted(['10.0.0.1', '10.0.0.3'])])

    const second = open()
    t.same(await held(second), ['10.0.0.1:80', '10.0.0.3:80'])

    const ids = (tables: Tables) => [1, 2, 3, 4, 5, 6, 7].filter(id => tables.backendOf(id) !== null)
    t.same(ids(second), [1, 3], 'its id is nobody’s')
    await second.put([wanted(['10.0.0.1', '10.0.0.2', '10.0.0.3'])])
    t.same(ids(second), [1, 3, 4], 'when it comes back it has another id')

    // Flows may hold the former id: it is used again once two sweeps have found none.
    const sweep = async () => {
      now += 10_000
      await second.sweep()
    }
    swept = Uint32Array.of(0, 0, 1, 0, 0, 0, 0, 0)
    await sweep()
    await sweep()
    const five = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.5', '10.0.0.6']
    await second.put([wanted(five)])
    t.same(ids(second), [1, 3, 4, 5, 6])
    swept = new Uint32Array(8)
    await sweep()
    await sweep()
    await second.put([wanted([...five, '10.0.0.7', '10.0.0.8'])])
    t.same(ids(second), [1, 2, 3, 4, 5, 6, 7])
  },
)
