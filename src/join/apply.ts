/** Makes a setting so, and undoes it if it is still as it was made. */
import { writeFileSync } from 'node:fs'
import { BalancerError } from '../errors.js'
import { type BpfProgram, loadNative, type Netlink, type NetlinkLink, type XdpMode } from '../native.js'
import { attachedTo, readAddresses, readRoutes, readSysctl, sysctlPath, sysctlText } from './host.js'
import {
  addressMessage,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  RTM_DELADDR,
  RTM_NEWADDR,
  RTM_NEWROUTE,
  restoring,
} from './rtnetlink.js'
import type { Setting, SettingOf } from './setting.js'
import type { ToaPrograms } from './toa.js'
import { makeToa, undoToa } from './toa-apply.js'

const codeOf = (cause: unknown): string => (cause as { code?: string }).code ?? String(cause)

const notPermitted = (what: string, cause: unknown): BalancerError =>
  new BalancerError('ERR_NOT_PERMITTED', `${what} cannot be changed (${codeOf(cause)})`, {
    cause,
    hint: 'run as root; in a container with /proc/sys writable',
  })

/** Fails as a missing privilege where it is one. */
const permitted = async <T>(what: string, change: () => T | Promise<T>): Promise<T> => {
  try {
    return await change()
  } catch (cause) {
    if (['EPERM', 'EACCES', 'EROFS'].includes(codeOf(cause))) throw notPermitted(what, cause)
    throw cause
  }
}

const writeSysctl = (name: string, value: string): Promise<void> =>
  permitted(sysctlText(name), () => writeFileSync(sysctlPath(name), `${value}\n`))

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))
export const hexOf = (message: Uint8Array): string => Buffer.from(message).toString('hex')

const replaceRoute = (netlink: Netlink, { text }: SettingOf<'route'>, message: Uint8Array): Promise<void> =>
  permitted(`route ${text}`, () => netlink.request(RTM_NEWROUTE, NLM_F_REPLACE, message))

export interface NewProgram {
  readonly program: BpfProgram
  readonly xdp: 'auto' | XdpMode
}

/** What settings of programs are made of; null: no such setting is made. */
export interface Fresh {
  readonly decapsulator: NewProgram | null
  readonly toa: ToaPrograms | null
}

const busy = (name: string, cause: unknown): BalancerError =>
  new BalancerError('ERR_XDP_BUSY', `interface ${name} has another XDP program`, {
    cause,
    hint: `\`ip link show dev ${name}\` and \`bpftool net\` name it`,
  })

const attachAs = async (
  { interface: name, ifindex }: SettingOf<'program'>,
  program: BpfProgram,
  mode: XdpMode,
  old: BpfProgram | undefined,
): Promise<void> => {
  try {
    await permitted(`the XDP program on ${name}`, () => loadNative().attachXdp(program, ifindex, mode, old))
  } catch (cause) {
    throw ['EBUSY', 'EEXIST'].includes(codeOf(cause)) ? busy(name, cause) : cause
  }
}

/** One of Linimo's that is there is replaced: at once where the mode stays, so that no packet finds none. */
const attach = async (setting: SettingOf<'program'>, { program, xdp }: NewProgram): Promise<void> => {
  const native = loadNative()
  const { interface: name, ifindex } = setting
  const at = attachedTo(ifindex)
  const old = at?.isOurs ? native.BpfProgram.openById(at.programId) : undefined
  try {
    if (at && old) {
      if (xdp === 'auto' || xdp === at.mode) return await attachAs(setting, program, at.mode, old)
      await native.detachXdp(ifindex, at.mode, old)
    }
    if (xdp === 'generic') return await attachAs(setting, program, 'generic', undefined)
    try {
      await attachAs(setting, program, 'native', undefined)
    } catch (cause) {
      if (cause instanceof BalancerError) throw cause
      if (xdp === 'native')
        throw new BalancerError(
          'ERR_XDP_UNSUPPORTED',
          `interface ${name} takes no native XDP program (${codeOf(cause)})`,
          { cause, hint: '--xdp auto falls back to generic XDP, which is slower' },
        )
      await attachAs(setting, program, 'generic', undefined)
    }
  } finally {
    old?.close()
  }
}

export const make = async (setting: Setting, netlink: Netlink, fresh: Fresh): Promise<void> => {
  switch (setting.kind) {
    case 'sysctl':
      return writeSysctl(setting.name, setting.after)
    case 'address':
      return permitted(setting.address, () =>
        netlink.request(
          RTM_NEWADDR,
          NLM_F_CREATE | NLM_F_EXCL,
          addressMessage(setting.address, setting.ifindex),
        ),
      )
    case 'program':
      return attach(setting, fresh.decapsulator!)
    case 'route':
      return replaceRoute(netlink, setting, bytes(setting.after))
    case 'toa':
      return makeToa(setting, fresh.toa!)
  }
}

/** `kept`: it is not as it was made, so somebody else's, and left alone. `gone`: there is nothing to undo. */
export type Undone = 'undone' | 'kept' | 'gone'

/** The sysctl's name, the interface's own of today in it. */
const sysctlName = ({ name, ifindex }: SettingOf<'sysctl'>, links: readonly NetlinkLink[]): string | null => {
  if (ifindex === null) return name
  const link = links.find(one => one.ifindex === ifindex)
  return link ? name.replace(/^(ipv4\/conf\/)[^/]+/, (_, head: string) => `${head}${link.name}`) : null
}

const undoSysctl = async (setting: SettingOf<'sysctl'>, netlink: Netlink): Promise<Undone> => {
  const name = sysctlName(setting, await netlink.links())
  const present = name === null ? null : readSysctl(name)
  if (name === null || present === null) return 'gone'
  if (present === setting.before) return 'gone' // never made, or undone already
  if (present !== setting.after) return 'kept'
  await writeSysctl(name, setting.before)
  return 'undone'
}

const undoAddress = async ({ address, ifindex }: SettingOf<'address'>, netlink: Netlink): Promise<Undone> => {
  const present = await readAddresses(netlink)
  if (!present.some(one => one.address === address && one.ifindex === ifindex)) return 'gone'
  await permitted(address, () => netlink.request(RTM_DELADDR, 0, addressMessage(address, ifindex)))
  return 'undone'
}

const undoProgram = async (
  { ifindex, programId }: SettingOf<'program'>,
  netlink: Netlink,
): Promise<Undone> => {
  const native = loadNative()
  if (!(await netlink.links()).some(link => link.ifindex === ifindex)) return 'gone'
  const at = attachedTo(ifindex)
  if (!at) return 'gone'
  if (at.programId !== programId) return 'kept'
  const program = native.BpfProgram.openById(programId)
  try {
    await permitted(`the XDP program on interface ${ifindex}`, () =>
      native.detachXdp(ifindex, at.mode, program),
    )
  } finally {
    program.close()
  }
  return 'undone'
}

const undoRoute = async (setting: SettingOf<'route'>, netlink: Netlink): Promise<Undone> => {
  const present = (await readRoutes(netlink))
    .filter(({ key }) => key === setting.key)
    .map(r => hexOf(r.message))
  if (present.length === 0 || present.includes(setting.before)) return 'gone'
  if (present.length > 1 || present[0] !== setting.after) return 'kept'
  await replaceRoute(netlink, setting, restoring(bytes(setting.before)))
  return 'undone'
}

export const undo = (setting: Setting, netlink: Netlink): Promise<Undone> => {
  switch (setting.kind) {
    case 'sysctl':
      return undoSysctl(setting, netlink)
    case 'address':
      return undoAddress(setting, netlink)
    case 'program':
      return undoProgram(setting, netlink)
    case 'route':
      return undoRoute(setting, netlink)
    case 'toa':
      return undoToa(setting)
  }
}

/** In words, for people. */
export const settingText = (setting: Setting): string => {
  switch (setting.kind) {
    case 'sysctl':
      return `${sysctlText(setting.name)} = ${setting.after} (was ${setting.before})`
    case 'address':
      return `address ${setting.address} on the loopback`
    case 'program':
      return `decapsulator on ${setting.interface}`
    case 'route':
      return `route ${setting.text}: advmss ${setting.advmss}`
    case 'toa':
      return `clients' addresses of TCP option 254, for cgroup ${setting.cgroup}`
  }
}
