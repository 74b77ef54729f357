/**
 * A host becomes a backend, and ceases to be one. What join changes is recorded first, so that a join that was cut off
 * can be left, or finished by another; what was so before is not changed, and not recorded.
 */
import type { Netlink } from '../native.js'
import { type Fresh, hexOf, make, settingText, type Undone, undo } from './apply.js'
import type { Finding } from './finding.js'
import type { Host } from './host.js'
import { withAdvmss } from './rtnetlink.js'
import { inOrder, type Setting, settingKey } from './setting.js'
import { openStateFile, type StateFile } from './state-file.js'
import { refuse, type Survey, survey, withNetlink } from './survey.js'
import type { ByHook, ToaPrograms } from './toa.js'
import { isToaInEffect } from './toa-apply.js'
import type { Wanted } from './wanted.js'
import type { Wish } from './wishes.js'

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

const idsOf = ({ programs }: ToaPrograms): ByHook<number> => ({
  sockops: programs.sockops.info.id,
  getpeername4: programs.getpeername4.info.id,
  getpeername6: programs.getpeername6.info.id,
})

/** A wish as a setting, with what is there before. */
const settingFor = (wish: Wish, { host, fresh, toa }: Survey): Setting => {
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
    case 'toa': {
      const { kind, cgroup, cgroupId } = wish
      return { kind, cgroup, cgroupId, programIds: idsOf(toa!.fresh) }
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
    case 'toa':
      return isToaInEffect(setting)
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
    return file.alone(() => undoAll(file.read(), netlink, file, []))
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
  fresh: Fresh,
): Promise<void> => {
  if (settings.length > 0) file.write([...kept, ...replaced, ...settings])
  let made = 0
  try {
    for (const setting of settings) {
      await make(setting, netlink, fresh)
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
    return file.alone(() => change(wanted, netlink, file))
  })

const change = async (wanted: Wanted, netlink: Netlink, file: StateFile): Promise<JoinResult> => {
  const undone = await withdraw(wanted, netlink, file)
  return survey(wanted, netlink, async found => {
    const { host, site, wishes, findings, fresh, toa } = found
    refuse(found)
    const unmet = wishes.filter(({ finding }) => finding !== null)
    const settings = unmet.map(wish => settingFor(wish, found))
    const keys = new Set(settings.map(settingKey))
    const isKept = (setting: Setting): boolean => isInEffect(setting, host) && !keys.has(settingKey(setting))
    const recorded = file.read()
    const before = {
      kept: recorded.filter(isKept),
      replaced: recorded.filter(setting => !isKept(setting)),
    }
    await makeAll(settings, netlink, file, before, {
      decapsulator: fresh ? { program: fresh, xdp: site.wanted.xdp } : null,
      toa: toa?.fresh ?? null,
    })
    return {
      changed: settings.map(settingText),
      undone,
      warnings: findings.filter(({ kind }) => kind !== 'refused'),
    }
  })
}

/** Undoes what an earlier join has made and this one does not want. @returns in words */
const withdraw = async (wanted: Wanted, netlink: Netlink, file: StateFile): Promise<readonly string[]> => {
  const recorded = file.read()
  if (recorded.length === 0) return []
  return survey(wanted, netlink, async found => {
    refuse(found)
    const byKey = new Map(found.wishes.map(wish => [wish.key, wish]))
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
