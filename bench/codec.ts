/** What do records of the data plane's tables cost to encode and decode? */
import { macBytes } from '../src/address.js'
import { sumOverCpus } from '../src/dataplane/counters.js'
import { backendCountLayout, backendLayout, serviceLayout } from '../src/dataplane/layout.js'
import { serviceBucket } from '../src/dataplane/service-table.js'
import type { Bench } from './bench.js'
import { BENNY_METHOD, timeCases } from './benny.js'

const RECORDS = 1000
const CPUS = 2

const backend = {
  ...backendLayout.decode(new Uint8Array(backendLayout.size)),
  dstMac: macBytes('02:00:00:00:00:0c'),
  srcMac: macBytes('02:00:00:00:00:01'),
  ifindex: 4,
  outPort: 1,
  mode: 1,
  flags: 1,
  service: 7,
  port: 80,
  addr: new Uint8Array(16),
}

const service = {
  ...serviceLayout.decode(new Uint8Array(serviceLayout.size)),
  addr: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 10),
  port: 80,
  protocol: 6,
  state: 1,
  flags: 1,
  idle: 225,
  ringBase: 65537,
  ringSize: 65537,
  hashSeed: 0x0123456789abcdefn,
  hashMask: 0xffffffffffffffffn,
  id: 7,
}

const times = (run: () => unknown) => () => {
  for (let i = 0; i < RECORDS; i++) run()
}

export const codec: Bench = {
  name: 'codec',
  question: "What do records of the data plane's tables cost to encode and decode?",
  method: `${BENNY_METHOD}; ${RECORDS} records a call, the time of one`,
  needsKernel: false,
  run: async options => {
    const encodedBackend = backendLayout.encode(backend)
    const encodedService = serviceLayout.encode(service)
    const counts = new Uint8Array(RECORDS * CPUS * backendCountLayout.size).fill(1)
    const cases = [
      { name: 'backend, encode', run: times(() => backendLayout.encode(backend)) },
      { name: 'backend, decode', run: times(() => backendLayout.decode(encodedBackend)) },
      { name: 'service, encode', run: times(() => serviceLayout.encode(service)) },
      { name: 'service, decode', run: times(() => serviceLayout.decode(encodedService)) },
      { name: 'service, its bucket', run: times(() => serviceBucket(service, 0x1234567, 8191)) },
      {
        name: `backend count, summed over ${CPUS} CPUs`,
        run: () => {
          const sums = sumOverCpus(counts, backendCountLayout.size, CPUS)
          for (const index of sums.used()) sums.row(index)
        },
      },
    ]
    return {
      figures: await timeCases(
        'records',
        cases.map(one => ({ ...one, per: RECORDS })),
        'ns',
        options,
      ),
      setup: [
        `a backend takes ${backendLayout.size} bytes, a service ${serviceLayout.size}, a count ${backendCountLayout.size} a CPU`,
      ],
    }
  },
}
