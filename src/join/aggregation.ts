/** Offloads that merge packets before a decapsulator sees them, as ethtool(8) tells; without it nothing is said. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type Finding, warning } from './finding.js'
import type { Site } from './site.js'

/** `ethtool -k`: by feature, whether it is on. */
export const parseFeatures = (text: string): ReadonlyMap<string, boolean> =>
  new Map(
    [...text.matchAll(/^\s*([a-z0-9-]+): (on|off)/gm)].map(([, name, value]) => [name!, value === 'on']),
  )

const featuresOf = async (name: string): Promise<ReadonlyMap<string, boolean>> => {
  try {
    const { stdout } = await promisify(execFile)('ethtool', ['-k', name], { timeout: 5000 })
    return parseFeatures(stdout)
  } catch {
    return new Map()
  }
}

interface Merging {
  readonly feature: string
  readonly option: string
  readonly why: string
}

const LRO: Merging = {
  feature: 'large-receive-offload',
  option: 'lro',
  why: 'its merged packets have lost their headers, and most drivers refuse native XDP with it',
}
/** A datagram's payload is an inner packet: several in one cannot be told apart. */
const OF_GUE: readonly Merging[] = [
  { feature: 'rx-udp-gro-forwarding', option: 'rx-udp-gro-forwarding', why: 'GUE datagrams are merged' },
  { feature: 'rx-gro-list', option: 'rx-gro-list', why: 'GUE datagrams are merged' },
]

export const mergingFindings = (
  name: string,
  features: ReadonlyMap<string, boolean>,
  hasGue: boolean,
): Finding[] =>
  [LRO, ...(hasGue ? OF_GUE : [])]
    .filter(({ feature }) => features.get(feature))
    .map(({ feature, option, why }) =>
      warning('aggregation', `${feature} is on at ${name}: ${why}`, `ethtool -K ${name} ${option} off`),
    )

export const aggregationWarnings = async ({ links, wanted }: Site): Promise<Finding[]> => {
  if (wanted.tunnels.length === 0) return []
  const hasGue = wanted.tunnels.some(({ mode }) => mode === 'gue')
  const findings = await Promise.all(
    links.map(async ({ name }) => mergingFindings(name, await featuresOf(name), hasGue)),
  )
  return findings.flat()
}
