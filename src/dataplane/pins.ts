/**
 * The pins of an instance, a directory of bpffs:
 *
 *   N/              a generation: one load of the data plane (generation.ts); the newest whole one counts
 *   links/IFINDEX   the program's attachment to an interface
 *
 * What keeps the packets flowing is the links' references; a process that stops leaves them.
 */
import { readlinkSync, rmdirSync, unlinkSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { BalancerError } from '../errors.js'
import type { Log } from '../log.js'
import { loadNative, type XdpLink, type XdpMode } from '../native.js'
import { bpffsError, checkBpffs, makeDirectory, namesIn } from './bpffs.js'
import {
  closeFound,
  type Found,
  readGeneration,
  removeGeneration,
  Unusable,
  writeGeneration,
} from './generation.js'
import type { Loaded } from './load.js'

/** An attachment that was found. */
export interface FoundLink {
  readonly ifindex: number
  readonly link: XdpLink
  readonly mode: XdpMode
}

export interface Pins {
  readonly directory: string
  /**
   * The newest generation whose program is in effect, else the newest of all: a process that died may have left one that
   * no packet has met. What cannot be read is logged.
   *
   * @param running ids of the programs in effect
   */
  find(running: ReadonlySet<number>): Found | null
  /** The attachments that are in effect here; pins of others are removed. */
  findLinks(): Promise<readonly FoundLink[]>
  /** Pins a load. @returns its number */
  write(loaded: Loaded): number
  /** Removes every generation but one. */
  keepOnly(number: number): void
  pinLink(ifindex: number, link: XdpLink): void
  unpinLink(ifindex: number): void
  /** Something of Linimo is pinned. */
  isThere(): boolean
  /** Detaches every pinned link, whoever else holds it. @returns the interfaces' indexes */
  detachAll(): Promise<readonly number[]>
  /** Removes all generations, then the directory. @returns what is left: nobody knows whose it is */
  remove(): readonly string[]
}

const isNumber = (name: string): boolean => /^[1-9][0-9]{0,8}$/.test(name)

const unlinked = (path: string): void => {
  try {
    unlinkSync(path)
  } catch (cause) {
    if ((cause as { code?: string }).code !== 'ENOENT') throw bpffsError('cannot be removed', path, cause)
  }
}

/** The program and mode attached to an interface of this network namespace. */
const attachedTo = (ifindex: number): { readonly programId: number; readonly mode: XdpMode | null } => {
  try {
    return loadNative().queryXdp(ifindex)
  } catch {
    return { programId: 0, mode: null } // there is no such interface
  }
}

/** @throws BalancerError `ERR_STATE`, `ERR_NOT_PERMITTED` when pins cannot be kept there */
export const openPins = (directory: string, log: Log): Pins => {
  checkBpffs(directory)
  const links = join(directory, 'links')
  const generations = (): number[] =>
    namesIn(directory)
      .filter(isNumber)
      .map(Number)
      .sort((a, b) => b - a)
  const pathOf = (number: number): string => join(directory, String(number))

  for (const name of namesIn(directory))
    if (name !== 'links' && !isNumber(name))
      log.warn({ event: 'pins.foreign', path: join(directory, name) }, 'is not of Linimo: left alone')

  return {
    directory,
    find: running => {
      let newest: Found | null = null
      for (const number of generations()) {
        try {
          const found = readGeneration(pathOf(number), number)
          if (running.size === 0 || (found.program && running.has(found.program.info.id))) {
            if (newest) closeFound(newest)
            return found
          }
          if (newest) closeFound(found)
          newest ??= found
        } catch (cause) {
          if (!(cause instanceof Unusable)) throw cause
          log.warn(
            { event: 'pins.unusable', path: pathOf(number), reason: cause.message },
            'these pins cannot be adopted, and are replaced',
          )
        }
      }
      return newest
    },
    findLinks: async () => {
      const found: FoundLink[] = []
      for (const name of namesIn(links)) {
        const path = join(links, name)
        let link: XdpLink
        try {
          link = loadNative().XdpLink.openPinned(path)
        } catch (cause) {
          const { code } = cause as { code?: string }
          if (code === 'EROFS') throw bpffsError('cannot be opened', path, cause)
          log.warn({ event: 'pins.foreign', path, cause: code }, 'is no attachment of Linimo: left alone')
          continue
        }
        const { ifindex, programId } = link.info
        const here = ifindex === 0 ? null : attachedTo(ifindex)
        if (here?.mode && here.programId === programId && name === String(ifindex)) {
          found.push({ ifindex, link, mode: here.mode })
          continue
        }
        log.warn({ event: 'pins.stale', path, ifindex }, 'its interface is gone, or is not here: removed')
        unlinked(path)
        await link.close()
      }
      return found
    },
    write: loaded => {
      const number = Math.max(0, ...generations()) + 1
      makeDirectory(directory)
      writeGeneration(pathOf(number), loaded)
      return number
    },
    keepOnly: number => {
      for (const other of generations())
        if (other !== number && !removeGeneration(pathOf(other)))
          log.warn({ event: 'pins.foreign', path: pathOf(other) }, 'holds what is not of Linimo: left alone')
    },
    pinLink: (ifindex, link) => {
      const path = join(links, String(ifindex))
      makeDirectory(links)
      try {
        link.pin(path)
      } catch (cause) {
        if ((cause as { code?: string }).code !== 'EEXIST') throw bpffsError('cannot be pinned', path, cause)
        throw new BalancerError('ERR_STATE', `${path} is there, and is no attachment of Linimo`, {
          cause,
          hint: 'remove it, or choose another directory with --pin-dir',
        })
      }
    },
    isThere: () => generations().length > 0 || namesIn(directory).includes('links'),
    detachAll: async () => {
      const detached: number[] = []
      for (const name of namesIn(links)) {
        let link: XdpLink
        try {
          link = loadNative().XdpLink.openPinned(join(links, name))
        } catch {
          continue // not a link of ours: left alone
        }
        const { ifindex } = link.info
        if (ifindex !== 0) {
          await link.detach()
          detached.push(ifindex)
        }
        unlinked(join(links, name))
        await link.close()
      }
      return detached
    },
    unpinLink: ifindex => unlinked(join(links, String(ifindex))),
    remove: () => {
      for (const number of generations()) removeGeneration(pathOf(number))
      const shared = basename(dirname(directory)) === 'linimo' ? [dirname(directory)] : []
      for (const path of [links, directory, ...shared]) {
        try {
          rmdirSync(path)
        } catch {
          // not empty, of other instances perhaps, or not there
        }
      }
      return namesIn(directory).flatMap(name =>
        name === 'links' ? namesIn(links).map(one => join(links, one)) : [join(directory, name)],
      )
    },
  }
}

/** The seed of the newest generation that is pinned there, whether or not this build can go on with it. */
export const pinnedSeed = (directory: string): string | null => {
  for (const number of namesIn(directory)
    .filter(isNumber)
    .map(Number)
    .sort((a, b) => b - a)) {
    try {
      const seed = readlinkSync(join(directory, String(number), 'seed'))
      if (/^[0-9a-f]{32}$/.test(seed)) return seed
    } catch {
      // half-written, or no pins of ours
    }
  }
  return null
}
