/** What join has changed of a host, each with what is needed to undo it. */
import { z } from 'zod'

const sysctl = z.strictObject({
  kind: z.literal('sysctl'),
  /** Below /proc/sys/net. */
  name: z.string().regex(/^ipv4\/conf\/[^/]+\/[a-z_]+$/),
  /** The interface in its name; null: none. */
  ifindex: z.int().nullable(),
  before: z.string().regex(/^-?\d+$/),
  after: z.string().regex(/^-?\d+$/),
})
const address = z.strictObject({
  kind: z.literal('address'),
  address: z.string(),
  ifindex: z.int(),
})
const program = z.strictObject({
  kind: z.literal('program'),
  interface: z.string(),
  ifindex: z.int(),
  programId: z.int(),
})
const route = z.strictObject({
  kind: z.literal('route'),
  /** As HostRoute has it. */
  key: z.string(),
  text: z.string(),
  advmss: z.int(),
  /** The route's messages (rtnetlink.ts), in hex. */
  before: z.string().regex(/^([0-9a-f]{2})+$/),
  after: z.string().regex(/^([0-9a-f]{2})+$/),
})

const toa = z.strictObject({
  kind: z.literal('toa'),
  /** Its directory, and the kernel's number of it. */
  cgroup: z.string(),
  cgroupId: z.string(),
  programIds: z.strictObject({ sockops: z.int(), getpeername4: z.int(), getpeername6: z.int() }),
})

export const settingSchema = z.discriminatedUnion('kind', [sysctl, address, program, route, toa])
export type Setting = z.infer<typeof settingSchema>
export type SettingOf<K extends Setting['kind']> = Extract<Setting, { kind: K }>

export const sysctlKey = (name: string): string => `sysctl ${name}`
export const addressKey = (text: string): string => `address ${text}`
export const programKey = (ifindex: number): string => `program ${ifindex}`
export const toaKey = (cgroup: string): string => `toa ${cgroup}`
export const routeKey = (key: string): string => `route ${key}`

/** What a setting is of: no two are of one thing. */
export const settingKey = (setting: Setting): string => {
  switch (setting.kind) {
    case 'sysctl':
      return sysctlKey(setting.name)
    case 'address':
      return addressKey(setting.address)
    case 'program':
      return programKey(setting.ifindex)
    case 'route':
      return routeKey(setting.key)
    case 'toa':
      return toaKey(setting.cgroup)
  }
}

const order: readonly Setting['kind'][] = ['sysctl', 'address', 'program', 'route', 'toa']

/** In the order in which they are made: no VIP before its silence. They are undone from the end. */
export const inOrder = (settings: readonly Setting[]): Setting[] =>
  [...settings].sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind))
