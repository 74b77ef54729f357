/**
 * Wires: veth pairs into a switch (a bridge in a namespace of its own), and the settings without which XDP on veth
 * loses packets in silence.
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

export const addSwitch = async (namespaces: Namespaces, name: string): Promise<Switch> => {
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
    await to.ip(
      ...addresses.map(
        address => `addr add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`,
      ),
      `link set ${device} up`,
    )
    return port
  }
  return {
    connect: async (to, device, addresses) => {
      await plug(to, device, addresses)
    },
    connectXdp: async (to, device, addresses) => {
      if (!existsSync(PASS_OBJECT)) throw new Error(`${PASS_OBJECT} is missing: run npm run setup`)
      const port = await plug(to, device, addresses)
      // Native XDP sees frames before the NIC would fill in their checksums: the sender has to.
      await host.run(['ethtool', '-K', port, 'tx', 'off'])
      await to.run(['ethtool', '-K', device, 'tx', 'off'])
      await host.ip(`link set dev ${port} xdpdrv obj ${PASS_OBJECT} sec xdp`)
    },
  }
}
