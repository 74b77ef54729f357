/** What is wrong on a host that is to be a backend. */
import type { Decapsulator } from './decapsulator.js'
import type { Finding } from './finding.js'
import { findingsOf, survey, withNetlink } from './survey.js'
import type { AttachedToa } from './toa.js'
import type { Wanted } from './wanted.js'

/** One of Linimo's programs on an interface, for `--check`. */
export interface AttachedDecapsulator {
  readonly interface: string
  readonly mode: 'native' | 'generic'
  readonly counts: Decapsulator['counts']
}

export interface CheckResult {
  /** Nothing is wrong; warnings aside. */
  readonly ok: boolean
  readonly findings: readonly Finding[]
  readonly decapsulators: readonly AttachedDecapsulator[]
  /** What reads TCP option 254; null: nothing, or nothing that is wanted. */
  readonly toa: { readonly cgroup: string; readonly counts: AttachedToa['counts'] } | null
}

/** Says what is wrong, and changes nothing. */
export const checkBackend = (wanted: Wanted): Promise<CheckResult> =>
  withNetlink(netlink =>
    survey(wanted, netlink, async found => {
      const { host, site, toa } = found
      const all = findingsOf(found)
      return {
        ok: all.every(({ kind }) => kind === 'warning'),
        findings: all,
        decapsulators: site.links.flatMap(({ name, ifindex }) => {
          const at = host.attached(ifindex)
          return at?.decapsulator ? [{ interface: name, mode: at.mode, counts: at.decapsulator.counts }] : []
        }),
        toa: toa?.present.sources ? { cgroup: toa.cgroup, counts: toa.present.counts } : null,
      }
    }),
  )
