/**
 * Reads `local-addresses`, an address or prefix or a list of them, and checks the pools that come of it: the one of all
 * FULLNAT services and SNAT, and each service's own.
 */
import { addressFamily } from '../address.js'
import { childPath, type Fields, readLeaf } from './fields.js'
import { modeFrom } from './forward.js'
import { isInPrefix, type LocalAddresses, MAX_LOCAL_ADDRESSES } from './prefixes.js'
import type { Position, Report } from './problem.js'
import { localAddresses, type rootShape } from './schema.js'
import type { ServiceDraft } from './service.js'
import type { SnatEntry } from './snat.js'
import type { Node } from './source.js'

export interface LocalAddressEntry extends LocalAddresses {
  readonly at: Position
  readonly path: string
}

const KEY = 'local-addresses'

const readOne = (node: Node, key: string, path: string, report: Report): LocalAddressEntry[] => {
  const read = readLeaf(localAddresses, node, key, path, report)
  return read === undefined ? [] : [{ ...read, at: node.at, path }]
}

export const readLocalAddresses = (
  node: Node,
  path: string,
  report: Report,
): readonly LocalAddressEntry[] => {
  if (node.kind !== 'list') return readOne(node, KEY, path, report)
  if (node.items.length === 0) report.problem(node.at, path, `${KEY} must not be empty`)
  return node.items.flatMap((item, i) => readOne(item, `each of ${KEY}`, `${path}[${i}]`, report))
}

export interface PoolSources {
  readonly drafts: readonly ServiceDraft[]
  /** The top level's. */
  readonly pool: readonly LocalAddressEntry[]
  readonly snat: readonly SnatEntry[]
  readonly root: Fields<typeof rootShape>
}

/** Whom an address belongs to already, by its place in the file. */
const placesOf = (drafts: readonly ServiceDraft[]): ReadonlyMap<string, string> => {
  const places = new Map<string, string>()
  for (const { fields, backends } of drafts) {
    const { vip } = fields.values
    if (vip !== undefined && !places.has(vip)) places.set(vip, `the VIP of line ${fields.at('vip').line}`)
    for (const backend of backends) {
      const { address } = backend.fields.values
      if (address !== undefined && !places.has(address))
        places.set(address, `the backend of line ${backend.fields.at('address').line}`)
    }
  }
  return places
}

const checkAddresses = (
  entries: readonly LocalAddressEntry[],
  drafts: readonly ServiceDraft[],
  report: Report,
): void => {
  const taken = placesOf(drafts)
  const seen = new Map<string, Position>()
  let count = 0
  for (const { addresses, text, at, path } of entries) {
    for (const address of addresses) {
      const within = text === address ? address : `${address} (of ${text})`
      const first = seen.get(address)
      const owner = taken.get(address)
      if (first) report.problem(at, path, `${within} is a local address of line ${first.line} already`)
      else if (owner) report.problem(at, path, `${within} is ${owner}`, 'a local address is nobody else’s')
      if (first || owner) break
    }
    for (const address of addresses) if (!seen.has(address)) seen.set(address, at)
    const before = count
    count += addresses.length
    if (before <= MAX_LOCAL_ADDRESSES && count > MAX_LOCAL_ADDRESSES)
      report.problem(at, path, `these are ${count} local addresses: at most ${MAX_LOCAL_ADDRESSES} in all`)
  }
}

const EXAMPLE = { 4: '10.0.0.100', 6: '"fd00::100"' } as const

/** FULLNAT backends of a family without local addresses. */
const checkFamilies = (
  { fields, forward, backends, localAddresses: own, path }: ServiceDraft,
  pool: readonly LocalAddressEntry[],
  report: Report,
): boolean => {
  const translated = backends.filter(backend => modeFrom(backend.forward, forward) === 'fullnat')
  const isUsed = translated.length > 0 || modeFrom(forward) === 'fullnat'
  if (own && !isUsed)
    report.problem(
      fields.at(KEY),
      childPath(path, KEY),
      `${KEY} is for forward: fullnat, not ${modeFrom(forward) ?? 'this'}`,
    )
  const families = new Set((own ?? pool).flatMap(({ addresses }) => addresses.map(addressFamily)))
  const missing = new Set<4 | 6>()
  for (const backend of translated) {
    const { address } = backend.fields.values
    if (address === undefined) continue
    const family = addressFamily(address)
    if (families.has(family) || missing.has(family)) continue
    missing.add(family)
    report.problem(
      backend.fields.at('address'),
      childPath(backend.path, 'address'),
      `fullnat to ${address} takes local addresses of IPv${family}, and there is none`,
      `addresses of this host that packets to it are routed to: ${KEY}: [${EXAMPLE[family]}]`,
    )
  }
  return isUsed && own === null
}

const checkSnat = ({ snat, pool, drafts }: PoolSources, report: Report): void => {
  const families = new Set(pool.flatMap(({ addresses }) => addresses.map(addressFamily)))
  const missing = new Set<4 | 6>()
  const seen = new Map<string, Position>()
  for (const { prefix, at, path } of snat) {
    const first = seen.get(prefix)
    if (first) report.problem(at, path, `snat has ${prefix} twice: first in line ${first.line}`)
    else seen.set(prefix, at)
    const family = addressFamily(prefix)
    if (!families.has(family) && !missing.has(family)) {
      missing.add(family)
      report.problem(
        at,
        path,
        `snat of ${prefix} takes local addresses of IPv${family}, and there is none at the top level`,
        `addresses of this host that packets to it are routed to: ${KEY}: [${EXAMPLE[family]}]`,
      )
    }
    for (const { fields } of drafts) {
      const { vip } = fields.values
      if (vip !== undefined && isInPrefix(vip, prefix))
        report.warning(at, path, `the VIP ${vip} of line ${fields.at('vip').line} lies in ${prefix}`)
    }
  }
}

export const checkPools = (sources: PoolSources, report: Report): void => {
  const { drafts, pool, snat, root } = sources
  checkAddresses(
    [...pool, ...drafts.flatMap(({ localAddresses: own }) => own ?? [])].sort(
      (a, b) => a.at.line - b.at.line || a.at.column - b.at.column,
    ),
    drafts,
    report,
  )
  const users = drafts.filter(draft => checkFamilies(draft, pool, report))
  checkSnat(sources, report)
  if (pool.length > 0 && users.length === 0 && snat.length === 0)
    report.warning(
      root.at(KEY),
      KEY,
      'no service is fullnat by them, and there is no snat: they are not used',
    )
}
