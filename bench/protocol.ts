/** How many requests can the control socket take? */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '../src/control/client.js'
import { createDecoder, encode } from '../src/control/codec.js'
import { type BackendRow, type Handlers, MAX_REQUEST_BYTES, requestParams } from '../src/control/protocol.js'
import { serve } from '../src/control/server.js'
import { validate } from '../src/control/validate.js'
import { createLog } from '../src/log.js'
import { loadNative } from '../src/native.js'
import type { Bench, BenchOptions, Figure } from './bench.js'
import { BENNY_METHOD, timeCases } from './benny.js'

const ROWS = 1000
const IN_FLIGHT = 100

const request = {
  id: 7,
  method: 'backend.set',
  params: { service: 'web', backend: 'b2', weight: 5 },
}

const row: BackendRow = {
  service: 'web',
  backend: 'b2',
  address: '10.0.0.12',
  port: 80,
  weight: 5,
  forward: 'dr',
  tunnel: null,
  mtu: 1500,
  state: 'enabled',
  health: 'up',
  slots: 655,
  flows: null,
  flowsAtLeast: false,
  drain: null,
  newFlows: '123456',
  replies: null,
  packets: '1234567890',
  bytes: '1234567890123',
  nextHop: { interface: 'eth0', mac: '02:00:00:00:00:0c' },
  reason: null,
}

/** Answers everything with a row, at once. */
const handlers = Object.fromEntries(
  Object.keys(requestParams).map(method => [method, async () => row]),
) as unknown as Handlers

const decodeOne = (bytes: Buffer): unknown => createDecoder(MAX_REQUEST_BYTES).push(bytes).messages[0]

const timeMessages = (options: BenchOptions): Promise<Figure[]> => {
  const packed = encode(request)
  const rows = { id: 7, result: Array.from({ length: ROWS }, () => row) }
  const packedRows = encode(rows)
  return timeCases(
    'messages',
    [
      { name: 'request, decode and check', run: () => validate(decodeOne(packed)) },
      { name: 'request, encode', run: () => encode(request) },
      { name: `answer of ${ROWS} backends, encode`, run: () => encode(rows) },
      { name: `answer of ${ROWS} backends, decode`, run: () => decodeOne(packedRows) },
    ],
    'us',
    options,
  )
}

const timeSocket = async (options: BenchOptions): Promise<Figure[]> => {
  const directory = mkdtempSync(join(tmpdir(), 'linimo-bench-'))
  const server = await serve({
    socketPath: join(directory, 'control.sock'),
    handlers,
    log: createLog('silent', 'bench'),
    peerOf: fd => loadNative().peerCredentials(fd),
  })
  try {
    const client = await connect({ socketPath: server.socketPath })
    const set = () => client.backend.set('web', 'b2', { weight: 5 })
    try {
      return await timeCases(
        'over the socket',
        [
          { name: 'over the socket, one after the other', run: set, budget: 1000 },
          {
            name: `over the socket, ${IN_FLIGHT} at a time`,
            run: () => Promise.all(Array.from({ length: IN_FLIGHT }, set)),
            per: IN_FLIGHT,
            budget: 1000,
          },
        ],
        'us',
        options,
      )
    } finally {
      await client.close()
    }
  } finally {
    await server.close()
    rmSync(directory, { recursive: true })
  }
}

export const protocol: Bench = {
  name: 'protocol',
  question: 'How many requests can the control socket take?',
  method: `${BENNY_METHOD}; over the socket: the exported client and the daemon's server in one process, handlers that answer at once`,
  needsKernel: false,
  run: async options => ({
    figures: [...(await timeMessages(options)), ...(await timeSocket(options))],
    setup: [
      `a request of ${encode(request).length} bytes (backend.set); a backend's row of ${encode(row).length}`,
    ],
  }),
}
