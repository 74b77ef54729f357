/** A host, and what is wanted of it, side by side. */
import { BalancerError, type ErrorCode } from '../errors.js'
import { type BpfProgram, loadNative, type Netlink } from '../native.js'
import { aggregationWarnings } from './aggregation.js'
import { loadDecapsulator } from './decapsulator.js'
import type { Finding } from './finding.js'
import { type Host, readHost } from './host.js'
import { findSite, type Site } from './site.js'
import { findToaSite, isToaSite, type ToaSite } from './toa-site.js'
import type { Wanted } from './wanted.js'
import { type Wish, wishesFor } from './wishes.js'

export const withNetlink = async <T>(use: (netlink: Netlink) => Promise<T>): Promise<T> => {
  const netlink = new (loadNative().Netlink)()
  try {
    return await use(netlink)
  } finally {
    netlink.close()
  }
}

export interface Survey {
  readonly host: Host
  readonly site: Site
  readonly wishes: readonly Wish[]
  readonly findings: readonly Finding[]
  /** As it would be attached; null: none is wanted. */
  readonly fresh: BpfProgram | null
  /** null: nothing is to read TCP option 254, or nothing can. */
  readonly toa: ToaSite | null
}

/** What is, and what should be. */
export const survey = async <T>(
  wanted: Wanted,
  netlink: Netlink,
  use: (found: Survey) => Promise<T>,
): Promise<T> => {
  const host = await readHost(netlink)
  const site = findSite(wanted, host)
  const fresh = site.filling ? await loadDecapsulator(site.filling) : null
  let toa: ToaSite | null = null
  try {
    const found = wanted.toa ? await findToaSite(wanted.toa) : null
    toa = found && isToaSite(found) ? found : null
    const { wishes, findings } = wishesFor(site, host, fresh?.info.tag ?? null, found)
    return await use({
      host,
      site,
      wishes,
      findings: [...findings, ...(await aggregationWarnings(site))],
      fresh,
      toa,
    })
  } finally {
    fresh?.close()
    toa?.fresh.close()
  }
}

const errorCodes: Readonly<Partial<Record<Finding['code'], ErrorCode>>> = {
  'no-interface': 'ERR_NO_INTERFACE',
  'no-address': 'ERR_NOT_FOUND',
  'address-missing': 'ERR_NOT_FOUND',
  'program-foreign': 'ERR_XDP_BUSY',
  'toa-no-cgroup': 'ERR_NOT_FOUND',
}

/** All that there is to say. */
export const findingsOf = ({ wishes, findings }: Survey): readonly Finding[] => [
  ...wishes.flatMap(({ finding }) => (finding ? [finding] : [])),
  ...findings,
]

/** @throws BalancerError for what joining cannot help */
export const refuse = (found: Survey): void => {
  const [first, ...more] = findingsOf(found).filter(({ kind }) => kind === 'refused')
  if (!first) return
  const others = more.map(({ message }) => `; ${message}`).join('')
  throw new BalancerError(errorCodes[first.code] ?? 'ERR_CONFLICT', `${first.message}${others}`, {
    hint: first.hint,
  })
}
