/** The devmap's places: which interface has which, found or made on first use. */
import { BalancerError } from '../errors.js'
import type { BpfMap } from '../native.js'
import { u32 } from './map-key.js'

export interface OutPorts {
  /** An interface's place. @throws BalancerError `ERR_LIMIT` */
  of(ifindex: number): number
  /** Takes over what an earlier process has put there. */
  adopt(): void
}

/** @param devmap the one that the program uses: another after a move */
export const createOutPorts = (devmap: () => BpfMap): OutPorts => {
  const ports = new Map<number, number>()

  const firstFree = (): number => {
    const taken = new Set(ports.values())
    let port = 0
    while (taken.has(port)) port++
    return port
  }

  return {
    of: ifindex => {
      const map = devmap()
      const port = ports.get(ifindex) ?? firstFree()
      if (port >= map.info.maxEntries)
        throw new BalancerError('ERR_LIMIT', `more than ${map.info.maxEntries} interfaces lead to backends`)
      map.update(u32(port), u32(ifindex))
      ports.set(ifindex, port)
      return port
    },
    adopt: () => {
      const map = devmap()
      for (let port = 0; port < map.info.maxEntries; port++) {
        try {
          const value = map.lookup(u32(port))
          ports.set(new DataView(value.buffer, value.byteOffset).getUint32(0, true), port)
        } catch (cause) {
          if ((cause as { code?: string }).code !== 'ENOENT') throw cause // nobody has this place
        }
      }
    },
  }
}
