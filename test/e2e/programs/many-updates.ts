/** Sets a backend's weight many times over one connection without waiting: SOCKET SERVICE BACKEND COUNT. */
import { connect } from '../../../src/index.js'

const [socketPath, service = '', backend = '', count] = process.argv.slice(2)
const client = await connect({ socketPath })
const began = performance.now()
let failed = 0
const answers = await Promise.all(
  Array.from({ length: Number(count) }, (_, i) =>
    client.backend.set(service, backend, { weight: 1 + (i % 50) }).catch(() => {
      failed++
    }),
  ),
)
console.log(JSON.stringify({ answered: answers.length, failed, seconds: (performance.now() - began) / 1000 }))
await client.close()
