/** The backend host as it is: what is read of it, at one moment. */
import { readFileSync } from 'node:fs'
import { loadNative, type Netlink, type NetlinkLink, type XdpMode } from '../native.js'
import { type Decapsulator, PROGRAM, readDecapsulator } from './decapsulator.js'
import {
  familyNumber,
  type HostAddress,
  type HostRoute,
  RTM_GETADDR,
  RTM_GETROUTE,
  readAddress,
  readRoute,
} from './rtnetlink.js'
import type { Family } from './wanted.js'

export interface Attached {
  readonly programId: number
  readonly mode: XdpMode
  /** null: it is not Linimo's. */
  readonly decapsulator: Decapsulator | null
  /** Linimo's by its name, also when it is of a build that cannot be read. */
  readonly isOurs: boolean
}

export interface Host {
  readonly links: readonly NetlinkLink[]
  readonly addresses: readonly HostAddress[]
  /** Those that lead packets out, of all tables. */
  readonly routes: readonly HostRoute[]
  /** @param name below /proc/sys/net: 'ipv4/conf/all/arp_ignore' @returns null when there is none */
  sysctl(name: string): string | null
  /** The XDP program on an interface. */
  attached(ifindex: number): Attached | null
}

const IFF_UP = 0x1
const IFF_LOOPBACK = 0x8
const IFF_NOARP = 0x80

export const isUp = ({ flags }: NetlinkLink): boolean => (flags & IFF_UP) !== 0
export const isLoopback = ({ flags }: NetlinkLink): boolean => (flags & IFF_LOOPBACK) !== 0
/** It answers who has an address. A dummy interface has NOARP. */
export const answersArp = ({ flags }: NetlinkLink): boolean => (flags & (IFF_LOOPBACK | IFF_NOARP)) === 0

export const sysctlPath = (name: string): string => `/proc/sys/net/${name}`
/** As sysctl(8) has it. */
export const sysctlText = (name: string): string => {
  const dotted = name.includes('.') ? name : name.replaceAll('/', '.')
  return `net${dotted.includes('/') ? '/' : '.'}${dotted}`
}

export const readSysctl = (name: string): string | null => {
  try {
    return readFileSync(sysctlPath(name), 'utf8').trim()
  } catch (cause) {
    if ((cause as { code?: string }).code === 'ENOENT') return null
    throw cause
  }
}

const nameOfProgram = (id: number): string | null => {
  try {
    const program = loadNative().BpfProgram.openById(id)
    try {
      return program.info.name
    } finally {
      program.close()
    }
  } catch {
    return null // gone meanwhile, or not to be looked at
  }
}

export const attachedTo = (ifindex: number): Attached | null => {
  const { programId, mode } = loadNative().queryXdp(ifindex)
  if (programId === 0 || mode === null) return null
  return {
    programId,
    mode,
    decapsulator: readDecapsulator(programId),
    isOurs: nameOfProgram(programId) === PROGRAM,
  }
}

const both = async <Row>(
  netlink: Netlink,
  type: number,
  read: (message: Uint8Array) => Row | null,
): Promise<Row[]> => {
  const rows: Row[] = []
  for (const family of [4, 6] as const satisfies readonly Family[])
    for (const message of await netlink.dumpMessages(type, familyNumber(family))) {
      const row = read(message)
      if (row !== null) rows.push(row)
    }
  return rows
}

export const readRoutes = (netlink: Netlink): Promise<HostRoute[]> => both(netlink, RTM_GETROUTE, readRoute)

export const readAddresses = (netlink: Netlink): Promise<HostAddress[]> =>
  both(netlink, RTM_GETADDR, readAddress)

export const readHost = async (netlink: Netlink): Promise<Host> => ({
  links: await netlink.links(),
  addresses: await readAddresses(netlink),
  routes: await readRoutes(netlink),
  sysctl: readSysctl,
  attached: attachedTo,
})
