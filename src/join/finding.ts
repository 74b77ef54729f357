/** What `linimo join --check` has to say. */

export interface Finding {
  /** For programs: "arp-ignore". */
  readonly code: FindingCode
  /** `wrong`: the backend does not work as it is; `refused`: and joining cannot help; `warning`: worth to know. */
  readonly kind: 'wrong' | 'refused' | 'warning'
  readonly message: string
  /** What to do. */
  readonly hint: string
}

/** Every finding, and what it means. */
export const findingCodes = {
  'no-interface': 'an interface that is named does not exist, or none has the address',
  'interface-down': 'an interface is down',
  'no-address': 'the interface has no address that a balancer could send to',
  'address-missing': 'an address that the balancer sends to is not on this host',
  'vip-is-own': 'a VIP is also the address that the balancer sends to',
  'vip-missing': 'a VIP is not on this host',
  'vip-answered': 'a VIP is on an interface that answers ARP or neighbour solicitations for it',
  'ipv6-disabled': 'a VIP is IPv6, which is disabled on the loopback',
  'arp-ignore': 'ARP requests for a VIP are answered',
  'arp-announce': 'ARP requests are sent in the name of a VIP',
  'rp-filter': "the kernel drops clients' packets whose way back is another one",
  'program-missing': 'nothing decapsulates',
  'program-foreign': 'another XDP program is on the interface',
  'program-differs': 'the decapsulator is there, but was told other things',
  'program-mode': 'the decapsulator is there, in another XDP mode than is wanted',
  'program-generic': 'the decapsulator runs as generic XDP, which is slower',
  'route-mss': 'clients are told a larger segment size than the tunnels have room for',
  'route-passing': 'a route that cannot be given a segment size for long',
  'packet-size': 'the tunnels leave less room than IP demands',
  'toa-no-cgroup': 'there is no cgroup (v2) that the readers of TCP option 254 could be attached to',
  'toa-unsupported': 'the kernel does not take the programs that read TCP option 254',
  'toa-missing': 'nothing reads TCP option 254, or only a part of it is there',
  'toa-differs': 'the readers of TCP option 254 are there, but believe others, or are of another build',
  'toa-any-source': 'TCP option 254 is believed of anybody',
  aggregation: 'the network card merges packets before they are decapsulated',
} as const

export type FindingCode = keyof typeof findingCodes

export const wrong = (code: FindingCode, message: string, hint: string): Finding => ({
  code,
  kind: 'wrong',
  message,
  hint,
})
export const refused = (code: FindingCode, message: string, hint: string): Finding => ({
  code,
  kind: 'refused',
  message,
  hint,
})
export const warning = (code: FindingCode, message: string, hint: string): Finding => ({
  code,
  kind: 'warning',
  message,
  hint,
})
