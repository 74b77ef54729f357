/** What is to read TCP option 254 here, beside what does so now; and what is wrong with it. */
import { BalancerError } from '../errors.js'
import { type BpfMap, loadNative } from '../native.js'
import { cgroupId, findRootCgroup } from './cgroup.js'
import { type Finding, refused, warning, wrong } from './finding.js'
import {
  type AttachedToa,
  attachedToa,
  loadToa,
  sourcesText,
  type ToaPrograms,
  toaHooks,
  toaSources,
} from './toa.js'
import { toaClientLayout } from './toa-layout.js'
import type { Prefix, ToaWanted } from './wanted.js'

export interface ToaSite {
  /** Its directory. */
  readonly cgroup: string
  readonly cgroupId: string
  /** Who is to be believed; none: anybody. */
  readonly sources: readonly Prefix[]
  /** What is attached there now. */
  readonly present: AttachedToa
  /** As they would be attached. */
  readonly fresh: ToaPrograms
}

const codeOf = (cause: unknown): string => (cause as { code?: string }).code ?? String(cause)

/** The clients of present connections, for programs that take over. */
const openClients = ({ clientsId }: AttachedToa): BpfMap | null => {
  if (clientsId === null) return null
  const map = loadNative().BpfMap.openById(clientsId)
  if (map.info.valueSize === toaClientLayout.size) return map
  map.close()
  return null
}

const unsupported = (cause: unknown): Finding =>
  refused(
    'toa-unsupported',
    `this kernel does not take the programs that read TCP option 254 (${codeOf(cause)})`,
    'Linux 6.1 or later with CONFIG_CGROUP_BPF is needed',
  )

/**
 * @returns what joining cannot help as a finding instead; the caller closes `fresh`
 * @throws BalancerError `ERR_NOT_PERMITTED`
 */
export const findToaSite = async (wanted: ToaWanted): Promise<ToaSite | Finding> => {
  const cgroup = wanted.cgroup ?? findRootCgroup()
  if (cgroup === null)
    return refused(
      'toa-no-cgroup',
      'no cgroup v2 is mounted: programs that read TCP option 254 have nothing to be attached to',
      'mount -t cgroup2 none DIRECTORY, or name a cgroup with --cgroup; `ip netns exec` hides it, `nsenter --net=` does not',
    )
  const id = cgroupId(cgroup)
  if (id === null) return refused('toa-no-cgroup', `${cgroup} is no cgroup (v2)`, 'see `findmnt -t cgroup2`')

  const sources = toaSources(wanted.sources)
  let clients: BpfMap | null = null
  try {
    const present = attachedToa(cgroup)
    clients = openClients(present)
    return { cgroup, cgroupId: id, sources, present, fresh: await loadToa(sources, clients) }
  } catch (cause) {
    if (codeOf(cause) === 'EPERM')
      throw new BalancerError('ERR_NOT_PERMITTED', 'the kernel does not let this process use BPF', {
        cause,
        hint: 'run as root',
      })
    return unsupported(cause)
  } finally {
    clients?.close()
  }
}

export const isToaSite = (found: ToaSite | Finding): found is ToaSite => 'fresh' in found

/** null: it is as it should be. */
export const toaFinding = ({ cgroup, sources, present, fresh }: ToaSite): Finding | null => {
  const byJoin = 'let join do it'
  const missing = toaHooks.filter(hook => present.ids[hook] === undefined)
  if (missing.length === toaHooks.length)
    return wrong('toa-missing', `nothing in cgroup ${cgroup} reads TCP option 254`, byJoin)
  if (missing.length > 0)
    return wrong('toa-missing', `in cgroup ${cgroup} a part is missing: ${missing.join(', ')}`, byJoin)
  if (present.sources === null || toaHooks.some(hook => present.tags[hook] !== fresh.programs[hook].info.tag))
    return wrong('toa-differs', `what reads TCP option 254 in cgroup ${cgroup} is another build's`, byJoin)
  if (JSON.stringify(present.sources) !== JSON.stringify(sources))
    return wrong(
      'toa-differs',
      `TCP option 254 is believed of ${sourcesText(present.sources)} instead of ${sourcesText(sources)}`,
      byJoin,
    )
  return null
}

/** What is so, and worth to know. */
export const toaWarnings = ({ sources }: ToaSite): readonly Finding[] =>
  sources.length > 0
    ? []
    : [
        warning(
          'toa-any-source',
          'TCP option 254 is believed of anybody: who reaches this host directly can claim any address',
          'name the balancers’ local addresses with --toa-from',
        ),
      ]
