/** Attaches the programs that read TCP option 254, and takes exactly those off again. */
import { BalancerError } from '../errors.js'
import { type CgroupHook, loadNative } from '../native.js'
import { cgroupId } from './cgroup.js'
import type { SettingOf } from './setting.js'
import { attachedToa, type ToaPrograms, toaHooks } from './toa.js'

type ToaSetting = SettingOf<'toa'>

const codeOf = (cause: unknown): string => (cause as { code?: string }).code ?? String(cause)

const permitted = async (cgroup: string, change: () => Promise<void>): Promise<void> => {
  try {
    await change()
  } catch (cause) {
    if (codeOf(cause) !== 'EPERM') throw cause
    throw new BalancerError('ERR_NOT_PERMITTED', `the programs of cgroup ${cgroup} cannot be changed`, {
      cause,
      hint: `run as root; \`bpftool cgroup show ${cgroup}\` tells whether another program wants to be alone there`,
    })
  }
}

/** Those of Linimo's that are there are replaced one by one: a connection that comes meanwhile finds one of both. */
export const makeToa = async ({ cgroup }: ToaSetting, { programs }: ToaPrograms): Promise<void> => {
  const native = loadNative()
  const present = attachedToa(cgroup)
  for (const hook of toaHooks) {
    const id = present.ids[hook]
    const old = id === undefined ? undefined : native.BpfProgram.openById(id)
    try {
      await permitted(cgroup, () => native.attachCgroup(programs[hook], cgroup, hook, old))
    } finally {
      old?.close()
    }
  }
}

/** A cgroup of the same name may be another one. */
const isThere = (setting: ToaSetting): boolean => cgroupId(setting.cgroup) === setting.cgroupId

const isAttached = ({ cgroup, programIds }: ToaSetting, hook: CgroupHook): boolean =>
  loadNative().queryCgroup(cgroup, hook).includes(programIds[hook])

export const isToaInEffect = (setting: ToaSetting): boolean =>
  isThere(setting) && toaHooks.every(hook => isAttached(setting, hook))

export const undoToa = async (setting: ToaSetting): Promise<'undone' | 'kept' | 'gone'> => {
  if (!isThere(setting)) return 'gone'
  const { cgroup, programIds } = setting
  const native = loadNative()
  const mine = toaHooks.filter(hook => isAttached(setting, hook))
  for (const hook of [...mine].reverse()) {
    const program = native.BpfProgram.openById(programIds[hook])
    try {
      await permitted(cgroup, () => native.detachCgroup(cgroup, hook, program))
    } finally {
      program.close()
    }
  }
  if (mine.length > 0) return 'undone'
  return Object.keys(attachedToa(cgroup).ids).length > 0 ? 'kept' : 'gone'
}
