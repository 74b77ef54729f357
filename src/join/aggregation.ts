/**
 * Offloads by which the network card merges packets before a decapsulator sees them, as ethtool(8) tells; without it
 * nothing is said. The kernel's own merging (GRO) comes after native XDP, and is not done where generic XDP is attached
 * (netif_elide_gro).
 */
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

const merging = [
  { feature: 'large-receive-offload', option: 'lro' },
  { feature: 'rx-gro-hw', option: 'rx-gro-hw' },
] as const

export const mergingFindings = (name: string, features: ReadonlyMap<string, boolean>): Finding[] =>
  merging
    .filter(({ feature }) => features.get(feature))
    .map(({ feature, option }) =>
      warning(
        'aggregation',
        `${feature} is on at ${name}: packets may be merged before they are decapsulated, and drivers refuse native XDP with it`,
        `ethtool -K ${name} ${option} off`,
      ),
    )

export const aggregationWarnings = async ({ links, wanted }: Site): Promise<Finding[]> => {
  if (wanted.tunnels.length === 0) return []
  const findings = await Promise.all(
    links.map(async ({ name }) => mergingFindings(name, await featuresOf(name))),
  )
  return findings.flat()
}
