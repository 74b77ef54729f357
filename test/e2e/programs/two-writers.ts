/** Two clients set weights at once, each of its own backend: SOCKET SERVICE COUNT. */
import { connect } from '../../../src/index.js'

const [socketPath, service = '', count] = process.argv.slice(2)
const writers = await Promise.all(
  ['b1', 'b2'].map(async backend => ({ backend, client: await connect({ socketPath }) })),
)
let failed = 0
await Promise.all(
  writers.map(async ({ backend, client }) => {
    for (let weight = 1; weight <= Number(count); weight++)
      await client.backend.set(service, backend, { weight }).catch(() => failed++)
  }),
)
const rows = await writers[0]!.client.backend.list(service)
console.log(
  JSON.stringify({
    failed,
    weights: Object.fromEntries(rows.map(({ backend, weight }) => [backend, weight])),
    slots: rows.reduce((sum, { slots }) => sum + slots, 0),
  }),
)
for (const { client } of writers) await client.close()
