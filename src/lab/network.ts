/**
 * Wires: veth pairs into a switch (a bridge in a namespace of its own) or from host to host, and the settings without
 * which XDP on veth loses packets in silence.
 */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Host, Namespaces } from './namespaces.js'

/** An Ethernet segment. */
export interface Switch {
  /** Gives a host an interface on this segment, with addresses in CIDR form. */
  readonly connect: (host: Host, device: string, addresses: readonly string[]) => Promise<void>
  /** The same, for an interface that XDP runs on or sends by. */
  readonly connectXdp: (host: Host, device: string, addresses: readonly string[]) => Promise<void>
}

const PASS_OBJECT = fileURLToPath(new URL('../../build/native/bpf/lab_pass.bpf.o', import.meta.url))

const onDevice = (device: string, addresses: readonly string[]) => [
  ...addresses.map(address => `addr add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`),
  `link set ${device} up`,
]

/** Native XDP sees frames before a NIC would fill in their checksums: the sender has to. Ends TSO with it. */
const fillChecksums = (host: Host, device: string) => host.run(['ethtool', '-K', device, 'tx', 'off'])

/** So that the other end may send by XDP_TX. */
const attachPass = (host: Host, device: string) => {
  if (!existsSync(PASS_OBJECT)) throw new Error(`${PASS_OBJECT} is missing: run npm run setup`)
  return host.ip(`link set dev ${device} xdpdrv obj ${PASS_OBJECT} sec xdp`)
}

/** One end of a cable. */
export interface End {
  readonly host: Host
  readonly device: string
  /** In CIDR form. */
  readonly addresses: readonly string[]
}

/**
 * A cable between two hosts whose frames are as on a real one: whole checksums, no longer than the MTU.
 * @param options.xdp XDP may run on `b` and send from there
 */
export const addLink = async (a: End, b: End, options: { mtu?: number; xdp?: boolean } = {}) => {
  const mtu = options.mtu ?? 1500
  await a.host.ip(
    `link add ${a.device} mtu ${mtu} type veth peer name ${b.device} mtu ${mtu} netns ${b.host.namespace}`,
  )
  for (const { host, device, addresses } of [a, b]) {
    await fillChecksums(host, device)
    await host.ip(...onDevice(device, addresses))
  }
  if (!options.xdp) return
  await attachPass(a.host, a.device)
  await a.host.run(['ethtool', '-K', a.device, 'gro', 'off']) // which came with XDP: it would merge what is captured
}

/** @param options.whole frames are as on a real switch: whole checksums, none longer than the MTU, none merged */
export const addSwitch = async (
  namespaces: Namespaces,
  name: string,
  options: { readonly whole?: boolean } = {},
): Promise<Switch> => {
  const host = await namespaces.add(name)
  await host.sysctl({ 'ipv6/conf/all/disable_ipv6': 1, 'ipv6/conf/default/disable_ipv6': 1 })
  await host.ip('link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0', 'link set br0 up')
  let ports = 0

  const plug = async (to: Host, device: string, addresses: readonly string[]) => {
    const port = `port${++ports}`
    await host.ip(
      `link add ${port} type veth peer name ${device} netns ${to.namespace}`,
      `link set ${port} master br0`,
      `link set ${port} up`,
    )
    if (options.whole) await Promise.all([fillChecksums(host, port), fillChecksums(to, device)])
    await to.ip(...onDevice(device, addresses))
    return port
  }
  return {
    connect: async (to, device, addresses) => {
      await plug(to, device, addresses)
    },
    connectXdp: async (to, device, addresses) => {
      const port = await plug(to, device, addresses)
      await fillChecksums(host, port)
      await fillChecksums(to, device)
      await attachPass(host, port)
      if (options.whole) await host.run(['ethtool', '-K', port, 'gro', 'off'])
    },
  }
}
