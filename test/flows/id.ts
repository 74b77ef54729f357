import fc from 'fast-check'
import t from 'tap'
import { readConnection, viewConnections } from '../../src/dataplane/connections.js'
import { connectionId, indexOfId } from '../../src/flows/id.js'
import {
  CONNECTION_DROPPED,
  CONNECTION_FULLNAT,
  type MadeConnection,
  makeTables,
  NOW,
} from './fixtures/memory.js'

const tables = makeTables(2 ** 17)
const idOf = (made: MadeConnection): string => {
  tables.put(made)
  return connectionId(
    made.index,
    readConnection(viewConnections(tables.connections), made.index, NOW)!.record,
  )
}
const tuple = {
  index: 66560,
  client: '198.51.100.7',
  clientPort: 40001,
  server: '192.0.2.10',
  serverPort: 80,
  protocol: 6,
}

t.test('an id tells its place, and whose it is', async t => {
  const id = idOf(tuple)
  t.match(id, /^66560:[0-9a-f]{8}$/)
  t.equal(indexOfId(id), 66560)
  for (const [what, changed] of Object.entries({
    index: { index: 66561 },
    client: { client: '198.51.100.8' },
    clientPort: { clientPort: 40002 },
    'its upper byte': { clientPort: 40001 + 256 },
    server: { server: '192.0.2.11' },
    serverPort: { serverPort: 81 },
    protocol: { protocol: 17 },
  }))
    t.not(idOf({ ...tuple, ...changed }), id, what)
  const lived = {
    expires: NOW + 5,
    clientSeen: 7,
    serverSeen: 7,
    kind: CONNECTION_FULLNAT | CONNECTION_DROPPED,
  }
  t.equal(idOf({ ...tuple, ...lived, backend: 2 }), id, 'what a connection lives through does not change it')
})

t.test('what is no id is none', async t => {
  for (const text of [
    '',
    'web',
    '66560',
    '66560:',
    '66560:123',
    ':12345678',
    '66560:1234567g',
    'x66560:12345678',
  ])
    t.equal(indexOfId(text), null, text)
  fc.assert(fc.property(fc.nat(2 ** 28 - 1), index => indexOfId(`${index}:00c0ffee`) === index))
})
