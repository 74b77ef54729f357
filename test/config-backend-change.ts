import t from 'tap'
import { changedBackend, newBackend, parseConfig } from '../src/config.js'
import { withBackend } from './fixtures/config.js'

const service = parseConfig(withBackend('name: b1')).config.services[0]!
const everyPort = { ...service, port: 0 }

t.test('a backend that is added is as the file would have it', async t => {
  t.same(newBackend(service, { name: 'b2', address: '10.0.0.12' }), {
    name: 'b2',
    address: '10.0.0.12',
    port: null,
    weight: 1,
    mac: null,
  })
  t.same(newBackend(service, { address: '10.0.0.12', port: 80, weight: 0, mac: '02:00:00:00:00:0C' }), {
    name: '10.0.0.12:80',
    address: '10.0.0.12',
    port: 80,
    weight: 0,
    mac: '02:00:00:00:00:0c',
  })
})

t.test('what breaks a rule of the file is a bad request', async t => {
  for (const [wanted, message] of [
    [{ address: '10.0.0.012' }, 'address 10.0.0.012 has leading zeros, which some read as octal'],
    [{ address: '127.0.0.1' }, 'address 127.0.0.1 is a loopback address'],
    [{ address: '192.0.2.10' }, 'address 192.0.2.10 is the VIP itself'],
    [{ address: '2001:db8::1' }, /^address 2001:db8::1 is IPv6, the VIP 192.0.2.10 is not/],
    [{ address: '10.0.0.12', port: 81 }, /^port 81 differs from the service's 80/],
    [{ address: '10.0.0.12', port: 0 }, 'port must be a whole number from 1 to 65535, not 0'],
    [{ address: '10.0.0.12', weight: 1001 }, 'weight must be a whole number from 0 to 1000, not 1001'],
    [{ address: '10.0.0.12', weight: 0.5 }, 'weight must be a whole number from 0 to 1000, not 0.5'],
    [{ address: '10.0.0.12', mac: 'ff:ff:ff:ff:ff:ff' }, 'mac ff:ff:ff:ff:ff:ff is a multicast address'],
    [{ address: '10.0.0.12', mac: 'x' }, /^mac must be six hex octets/],
    [{ address: '10.0.0.12', name: 'a b' }, /^the name "a b" must be of printable characters/],
  ] as const)
    t.throws(() => newBackend(service, wanted), { code: 'ERR_BAD_REQUEST', message }, JSON.stringify(wanted))
  t.throws(() => newBackend(everyPort, { address: '10.0.0.12', port: 80 }), {
    code: 'ERR_BAD_REQUEST',
    message: 'port 80: a service on every port has backends without one',
  })
})

t.test('what is taken is a conflict', async t => {
  t.throws(() => newBackend(service, { name: 'b1', address: '10.0.0.12' }), {
    code: 'ERR_CONFLICT',
    message: 'service "web" has a backend "b1" already',
  })
  t.throws(() => newBackend(service, { name: 'b2', address: '10.0.0.11', port: 80 }), {
    code: 'ERR_CONFLICT',
    message: '10.0.0.11:80 is backend "b1" of service "web" already',
  })
  const [backend] = service.backends
  const full = { ...service, ringSize: 251, backends: new Array(251).fill(backend) }
  t.throws(() => newBackend(full, { name: 'b2', address: '10.0.0.12' }), { code: 'ERR_CONFLICT' })
})

t.test('a change keeps what it does not name', async t => {
  const backend = newBackend(service, { name: 'b2', address: '10.0.0.12', mac: '02:00:00:00:00:0c' })
  t.same(changedBackend(backend, {}), backend)
  t.same(changedBackend(backend, { weight: 5 }), { ...backend, weight: 5 })
  t.same(changedBackend(backend, { mac: null }), { ...backend, mac: null })
  t.same(changedBackend(backend, { mac: '02:00:00:00:00:0D' }), { ...backend, mac: '02:00:00:00:00:0d' })
  t.throws(() => changedBackend(backend, { weight: -1 }), { code: 'ERR_BAD_REQUEST' })
  t.throws(() => changedBackend(backend, { mac: '00:00:00:00:00:00' }), { code: 'ERR_BAD_REQUEST' })
})
