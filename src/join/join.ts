/**
 * A host becomes a backend, and ceases to be one. What join changes is recorded first, so that a join that was cut off
 * can be left, or finished by another; what was so before is not changed, and not recorded.
 */
import { BalancerError } from '../errors.js'
import { type BpfProgram, loadNative, type Netlink } from '../native.js'
import { aggregationWarnings } from './aggregation.js'
import { hexOf, make, type NewProgram, settingText, type Undone, undo } from './apply.js'
import { type Decapsulator, loadDecapsulator } from './decapsulator.js'
import type { Finding } from './finding.js'
import { type Host, readHost } from './host.js'
import { withAdvmss } from './rtnetlink.js'
import { inOrder, type Setting, settingKey } from './setting.js'
import { findSite, type Site } from './site.js'
import { openStateFile, type StateFile } from './state-file.js'
import type { Wanted } from './wanted.js'
import { type Wish, wishesFor } from './wishes.js'

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
}

export interface JoinResult {
  readonly changed: readonly string[]
  readonly undone: readonly string[]
  readonly warnings: readonly Finding[]
}

export interface LeaveResult {
  readonly undone: readonly string[]
  /** Changed since by others. */
  readonly kept: readonly string[]
}

const withNetlink = async <T>(use: (netlink: Netlink) => Promise<T>): Promise<T> => {
  const netlink = new (loadNative().Netlink)()
  try {
    return await use(netlink)
  } finally {
    netlink.close()
  }
}

interface Survey {
  readonly host: Host
  readonly site: Site
  readonly wishes: readonly Wish[]
  readonly findings: readonly Finding[]
  /** As it would be attached; null: none is wanted. */
  readonly fresh: BpfProgram | null
}

/** What is, and what should be. */
const survey = async <T>(
  wanted: Wanted,
  netlink: Netlink,
  use: (found: Survey) => Promise<T>,
): Promise<T> => {
  const host = await readHost(netlink)
  const site = findSite(wanted, host)
  const fresh = site.filling ? await loadDecapsulator(site.filling) : null
  try {
    const { wishes, findings } = wishesFor(site, host, fresh?.info.tag ?? null)
    return await use({
      host,
      site,
      wishes,
      findings: [...findings, ...(await aggregationWarnings(site))],
      fresh,
    })
  } finally {
    fresh?.close()
  }
}

/** Says what is wrong, and changes nothing. */
export const checkBackend = (wanted: Wanted): Promise<CheckResult> =>
  withNetlink(netlink =>
    survey(wanted, netlink, async ({ host, site, wishes, findings }) => {
      const all = [...wishes.flatMap(({ finding }) => (finding ? [finding] : [])), ...findings]
      return {
        ok: all.every(({ kind }) => kind === 'warning'),
        findings: all,
        decapsulators: site.links.flatMap(({ name, ifindex }) => {
          const at = host.attached(ifindex)
          return at?.decapsulator ? [{ interface: name, mode: at.mode, counts: at.decapsulator.counts }] : []
        }),
      }
    }),
  )

const errorCodes: Readonly<Partial<Record<Finding['code'], ConstructorParameters<typeof BalancerError>[0]>>> =
  {
    'no-interface': 'ERR_NO_INTERFACE',
    'no-address': 'ERR_NOT_FOUND',
    'address-missing': 'ERR_NOT_FOUND',
    'program-foreign': 'ERR_XDP_BUSY',
  }

/** What joining cannot help. */
const refuse = (findings: readonly Finding[]): void => {
  const [first, ...more] = findings.filter(({ kind }) => kind === 'refused')
  if (!first) return
  const others = more.map(({ message }) => `; ${message}`).join('')
  throw new BalancerError(errorCodes[first.code] ?? 'ERR_CONFLICT', `${first.message}${others}`, {
    hint: first.hint,
  })
}

/** A wish as a setting, with what is there before. */
const settingFor = (wish: Wish, { host, fresh }: Survey): Setting => {
  switch (wish.kind) {
    case 'sysctl': {
      const { kind, name, ifindex, value } = wish
      return { kind, name, ifindex, before: host.sysctl(name)!, after: value }
    }
    case 'address':
      return { kind: 'address', address: wish.address, ifindex: wish.ifindex }
    case 'program':
      return {
        kind: 'program',
        interface: wish.interface,
        ifindex: wish.ifindex,
        programId: fresh!.info.id,
      }
    case 'route': {
      const route = host.routes.find(({ key }) => wish.key === `route ${key}`)!
      return {
        kind: 'route',
        key: route.key,
        text: wish.text,
        advmss: wish.advmss,
        before: hexOf(route.message),
        after: hexOf(withAdvmss(route.message, wish.advmss)),
      }
    }
  }
}

/** Whether what was made is still so. */
const isInEffect = (setting: Setting, host: Host): boolean => {
  switch (setting.kind) {
    case 'sysctl':
      return host.sysctl(setting.name) === setting.after
    case 'address':
      return host.addresses.some(
        ({ address, ifindex }) => address === setting.address && ifindex === setting.ifindex,
      )
    case 'program':
      return (
        host.links.some(({ ifindex }) => ifindex === setting.ifindex) &&
        host.attached(setting.ifindex)?.programId === setting.programId
      )
    case 'route':
      return host.routes.some(({ key, message }) => key === setting.key && hexOf(message) === setting.after)
  }
}

/** A setting that a wish still has: as it is. A route of another segment size is made anew from what it was. */
const stillFits = (setting: Setting, wish: Wish | undefined): boolean =>
  wish !== undefined && !(wish.kind === 'route' && setting.kind === 'route' && wish.advmss !== setting.advmss)

/** @param rest what stays recorded */
const undoAll = async (
  unordered: readonly Setting[],
  netlink: Netlink,
  file: StateFile,
  rest: readonly Setting[],
): Promise<LeaveResult> => {
  const settings = inOrder(unordered)
  const done: { setting: Setting; result: Undone }[] = []
  for (let left = settings.length; left > 0; left--) {
    const setting = settings[left - 1]!
    done.push({ setting, result: await undo(setting, netlink) })
    file.write([...rest, ...settings.slice(0, left - 1)])
  }
  const texts = (result: Undone): string[] =>
    done.flatMap(one => (one.result === result ? [settingText(one.setting)] : []))
  return { undone: texts('undone'), kept: texts('kept') }
}

/** Undoes all that is recorded. May be called twice. */
export const leave = (statePath: string): Promise<LeaveResult> =>
  withNetlink(netlink => {
    const file = openStateFile(statePath)
    return undoAll(file.read(), netlink, file, [])
  })

/**
 * @param kept     what is recorded and stays as it is
 * @param replaced what is recorded, and made anew: until that has been done it may have to be undone
 */
const makeAll = async (
  settings: readonly Setting[],
  netlink: Netlink,
  file: StateFile,
  { kept, replaced }: { readonly kept: readonly Setting[]; readonly replaced: readonly Setting[] },
  program: NewProgram | null,
): Promise<void> => {
  if (settings.length > 0) file.write([...kept, ...replaced, ...settings])
  let made = 0
  try {
    for (const setting of settings) {
      await make(setting, netlink, program)
      made++
    }
  } catch (cause) {
    // The one that failed may have been made by half.
    await undoAll(settings.slice(0, made + 1), netlink, file, [...kept, ...replaced])
    throw cause
  }
  if (settings.length + replaced.length > 0) file.write([...kept, ...settings])
}

/** Makes this host a backend. Twice is the same as once; with other wishes it changes to those. */
export const joinBackend = (wanted: Wanted, statePath: string): Promise<JoinResult> =>
  withNetlink(async netlink => {
    const file = openStateFile(statePath)
    const undone = await withdraw(wanted, netlink, file)
    return survey(wanted, netlink, async found => {
      const { host, site, wishes, findings, fresh } = found
      refuse([...findings, ...wishes.flatMap(({ finding }) => (finding ? [finding] : []))])
      const unmet = wishes.filter(({ finding }) => finding !== null)
      const settings = unmet.map(wish => settingFor(wish, found))
      const keys = new Set(settings.map(settingKey))
      const isKept = (setting: Setting): boolean =>
        isInEffect(setting, host) && !keys.has(settingKey(setting))
      const recorded = file.read()
      const before = {
        kept: recorded.filter(isKept),
        replaced: recorded.filter(setting => !isKept(setting)),
      }
      await makeAll(settings, netlink, file, before, fresh ? { program: fresh, xdp: site.wanted.xdp } : null)
      return {
        changed: settings.map(settingText),
        undone,
        warnings: findings.filter(({ kind }) => kind !== 'refused'),
      }
    })
  })

/** Undoes what an earlier join has made and this one does not want. @returns in words */
const withdraw = async (wanted: Wanted, netlink: Netlink, file: StateFile): Promise<readonly string[]> => {
  const recorded = file.read()
  if (recorded.length === 0) return []
  return survey(wanted, netlink, async ({ wishes, findings }) => {
    refuse([...findings, ...wishes.flatMap(({ finding }) => (finding ? [finding] : []))])
    const byKey = new Map(wishes.map(wish => [wish.key, wish]))
    const fits = (setting: Setting): boolean => stillFits(setting, byKey.get(settingKey(setting)))
    const { undone } = await undoAll(
      recorded.filter(setting => !fits(setting)),
      netlink,
      file,
      recorded.filter(fits),
    )
    return undone
  })
}
