/** The cgroup (v2) whose processes are told of their clients: by default the root, and so every process of the host. */
import { readFileSync, statfsSync, statSync } from 'node:fs'

/** statfs(2): CGROUP2_SUPER_MAGIC. */
const CGROUP2 = 0x63677270

const unescaped = (path: string): string =>
  path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))

/**
 * Where the root of the hierarchy is mounted: proc_pid_mountinfo(5). In a cgroup namespace its own root is the root.
 *
 * @returns in the order of the mounts
 */
export const parseCgroupMounts = (mountinfo: string): readonly string[] =>
  mountinfo.split('\n').flatMap(line => {
    const [mount = '', source = ''] = line.split(' - ')
    const [, , , root, path] = mount.split(' ')
    return source.startsWith('cgroup2 ') && root === '/' && path !== undefined ? [unescaped(path)] : []
  })

const isCgroup = (path: string): boolean => {
  try {
    return statfsSync(path).type === CGROUP2
  } catch {
    return false
  }
}

/** @returns null when none is mounted, or all are covered by other mounts */
export const findRootCgroup = (): string | null =>
  parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8')).find(isCgroup) ?? null

/** The kernel's number of a cgroup, unique until the next boot; null: there is no cgroup. */
export const cgroupId = (path: string): string | null =>
  isCgroup(path) ? String(statSync(path, { bigint: true }).ino) : null
