/** nft's own translation, with connection tracking, in this network namespace. Needs nftables and conntrack. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import type { ServiceToLoad } from './data-plane/balancer.js'
import { BACKENDS, backendAddress, OUR_MAC } from './data-plane/balancer.js'

const run = (command: string, args: readonly string[], input?: string): string =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'], input: input ?? '' })

const set = (key: string, value: number): void => writeFileSync(`/proc/sys/net/${key}`, String(value))

const GATEWAY = '10.255.0.2'

/** Frames come in by `in`, and leave by `out` to one router that all backends are behind. */
export const prepareForwarding = (): void => {
  // Redirected frames are taken in by NAPI only where GRO is on, or XDP is attached.
  run('ethtool', ['-K', 'in', 'gro', 'on'])
  run('ip', ['link', 'set', 'in', 'address', OUR_MAC])
  run('ip', ['address', 'add', '10.254.0.1/24', 'dev', 'in'])
  run('ip', ['route', 'add', 'default', 'dev', 'in'])
  run('ip', ['address', 'add', '10.255.0.1/24', 'dev', 'out'])
  run('ip', ['neigh', 'add', GATEWAY, 'lladdr', '02:00:00:01:00:01', 'dev', 'out', 'nud', 'permanent'])
  run('ip', ['route', 'add', '10.0.0.0/16', 'via', GATEWAY, 'dev', 'out'])
  set('ipv4/ip_forward', 1)
  for (const name of ['all', 'in', 'out']) set(`ipv4/conf/${name}/rp_filter`, 0)
}

/** Requests to a service go to its backends by the hash of the client; FULLNAT: from this host's own address. */
export const translate = ({ vip, port, protocol, forward }: ServiceToLoad): void => {
  const backends = Array.from({ length: BACKENDS }, (_, i) => `${i} : ${backendAddress(4, i)}`)
  run(
    'nft',
    ['-f', '-'],
    `table ip balance {
  chain requests {
    type nat hook prerouting priority dstnat
    ip daddr ${vip} ${protocol} dport ${port} dnat to jhash ip saddr . ${protocol} sport mod ${BACKENDS} map { ${backends.join(', ')} }
  }
${forward?.mode === 'fullnat' ? '  chain leaving {\n    type nat hook postrouting priority srcnat\n    oifname "out" masquerade\n  }\n' : ''}}
table netdev sink {
  counter delivered { }
  chain arriving {
    type filter hook ingress device "sink" priority 0
    counter name delivered drop
  }
}
`,
  )
  // Frames of many flows have the first one's UDP checksum. A namespace's own sysctls come with its first rule.
  set('netfilter/nf_conntrack_checksum', 0)
}

export const stopTranslating = (): void => {
  run('nft', ['flush', 'ruleset'])
}

export const forgetConnections = (): void => {
  run('conntrack', ['-F'])
}

/** Packets that have come out at `sink`. */
export const packetsOut = (): number => {
  const text = run('nft', ['-j', 'list', 'counter', 'netdev', 'sink', 'delivered'])
  const { nftables } = JSON.parse(text) as {
    readonly nftables: readonly { readonly counter?: { readonly packets: number } }[]
  }
  return nftables.flatMap(({ counter }) => counter?.packets ?? [])[0] ?? 0
}
