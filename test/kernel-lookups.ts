import t from 'tap'
import { allowKernelLookups } from '../src/kernel-lookups.js'
import { keepLog } from './control/fixtures/daemon.js'

const settingsOf = (values: Record<string, string>) => {
  const written: string[] = []
  return {
    written,
    settings: {
      read: (name: string) => values[name] ?? null,
      write: (name: string, value: string) => void written.push(`${name}=${value}`),
    },
  }
}

t.test('only the loopback device is set to forward, and only where it is not', async t => {
  const both = settingsOf({ 'ipv4/conf/lo/forwarding': '0', 'ipv6/conf/lo/forwarding': '0' })
  allowKernelLookups(both.settings, keepLog())
  t.same(both.written, ['ipv4/conf/lo/forwarding=1', 'ipv6/conf/lo/forwarding=1'])
  const router = settingsOf({ 'ipv4/conf/lo/forwarding': '1' })
  const log = keepLog()
  allowKernelLookups(router.settings, log)
  t.same(router.written, [])
  t.same(log.lines, [])
})

t.test('a setting that cannot be written is said, with what to do', async t => {
  const log = keepLog()
  const write = (): never => {
    throw Object.assign(new Error('read-only'), { code: 'EROFS' })
  }
  allowKernelLookups({ read: name => (name.startsWith('ipv4') ? '0' : null), write }, log)
  t.match(log.lines, [{ level: 'warn', message: /set net\.ipv4\.conf\.lo\.forwarding to 1/ }])
})
