/**
 * A DNS server for one TXT record of any name (RFC 1035): `dns-server.ts NAME PORT ADDRESS...`. The record says NAME and
 * whom the server sees asking: "NAME ADDRESS PORT". Prints `ready` when it listens on all addresses.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'

const HEADER = 12
const TXT = 16
const NOT_IMPLEMENTED = 4

/** Where the first question ends: its name in labels, type, class. */
const questionEnd = (query: Buffer): number => {
  let at = HEADER
  while (at < query.length && query[at] !== 0) at += 1 + query[at]!
  return at + 5
}

const answerTo = (query: Buffer, text: string): Buffer | null => {
  const end = questionEnd(query)
  if (query.length < end) return null
  const isTxt = query.readUInt16BE(end - 4) === TXT
  const header = Buffer.alloc(HEADER)
  query.copy(header, 0, 0, 2)
  header.writeUInt16BE(isTxt ? 0x8580 : 0x8580 | NOT_IMPLEMENTED, 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(isTxt ? 1 : 0, 6)
  const question = query.subarray(HEADER, end)
  if (!isTxt) return Buffer.concat([header, question])
  const record = Buffer.alloc(13)
  record.writeUInt16BE(0xc000 | HEADER, 0)
  record.writeUInt16BE(TXT, 2)
  record.writeUInt16BE(1, 4)
  record.writeUInt16BE(text.length + 1, 10)
  record.writeUInt8(text.length, 12)
  return Buffer.concat([header, question, record, Buffer.from(text)])
}

const [name, port, ...addresses] = process.argv.slice(2)
for (const address of addresses) {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  socket.on('message', (query, from) => {
    const answer = answerTo(query, `${name} ${from.address} ${from.port}`)
    if (answer) socket.send(answer, from.port, from.address)
  })
  socket.bind(Number(port), address)
  await once(socket, 'listening')
}
process.stdout.write('ready\n')
