/**
 * The kernel tells XDP ways (bpf_fib_lookup) for packets of interfaces that it forwards from, and of no others. On a host
 * that forwards nothing the data plane asks as if they came from the loopback device, which may forward without harm.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import type { Log } from './log.js'

/** Below /proc/sys/net. */
const SETTINGS = ['ipv4/conf/lo/forwarding', 'ipv6/conf/lo/forwarding'] as const

export interface Settings {
  /** @returns null: there is none, as without IPv6 */
  read(name: string): string | null
  write(name: string, value: string): void
}

const path = (name: string): string => `/proc/sys/net/${name}`

export const kernelSettings: Settings = {
  read: name => {
    try {
      return readFileSync(path(name), 'utf8').trim()
    } catch (cause) {
      if ((cause as { code?: string }).code === 'ENOENT') return null
      throw cause
    }
  },
  write: (name, value) => writeFileSync(path(name), value),
}

/** Has the kernel tell ways; where it cannot be brought to, that is said. */
export const allowKernelLookups = (settings: Settings, log: Log): void => {
  for (const name of SETTINGS) {
    const setting = `net.${name.replaceAll('/', '.')}`
    try {
      const value = settings.read(name)
      if (value === null || value !== '0') continue
      settings.write(name, '1')
      log.info(
        { event: 'kernel-lookups.allowed', setting },
        'the kernel tells ways, though it forwards nothing',
      )
    } catch (cause) {
      log.warn(
        { event: 'kernel-lookups.refused', setting, cause: String(cause) },
        `NAT's replies to clients on the link, or by several gateways, may be dropped: set ${setting} to 1`,
      )
    }
  }
}
