import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { native } from '../fixtures/native.js'

/** Node has no public name for a socket's descriptor. */
const descriptorOf = (socket: Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd

const connected = async (
  t: { teardown(close: () => unknown): void },
  path: string | null,
): Promise<Socket> => {
  const server = createServer()
  path ? server.listen(path) : server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const client =
    address && typeof address === 'object' ? connect(address.port, '127.0.0.1') : connect(path ?? '')
  const [socket] = (await once(server, 'connection')) as [Socket]
  t.teardown(() => {
    client.destroy()
    socket.destroy()
    server.close()
  })
  return socket
}

t.test('the peer of a unix socket is known by process, user and group', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'linimo-credentials-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const socket = await connected(t, join(directory, 'socket'))
  t.same(native.peerCredentials(descriptorOf(socket)), {
    pid: process.pid,
    uid: process.getuid?.(),
    gid: process.getgid?.(),
  })
})

t.test('a TCP socket has no such peer', async t => {
  const socket = await connected(t, null)
  t.throws(() => native.peerCredentials(descriptorOf(socket)), { code: 'EINVAL', syscall: 'getsockopt' })
})

t.test('what is no socket is an error', async t => {
  t.throws(() => native.peerCredentials(0x7ffffffe), { code: 'EBADF', errno: 9, syscall: 'getsockopt' })
  t.throws(() => native.peerCredentials(-1), { name: 'RangeError' })
  t.throws(() => native.peerCredentials('0' as never), { name: 'TypeError' })
})
