/** A map as another thread of this process gets it: its descriptor, which may be another one's by the time it is used. */
import { type BpfMap, loadNative } from '../native.js'

export interface MapHandle {
  readonly fd: number
  /** The kernel's, never used twice. */
  readonly id: number
}

/** The memory of a map whose descriptor is kept open meanwhile. */
export const mapped = async (fd: number): Promise<ArrayBuffer> => {
  const map = loadNative().BpfMap.fromFd(fd)
  try {
    return await map.mmap()
  } finally {
    map.close()
  }
}

/** @throws when the descriptor is closed, or another map's */
export const openHandle = ({ fd, id }: MapHandle): BpfMap => {
  const map = loadNative().BpfMap.fromFd(fd)
  if (map.info.id === id) return map
  map.close()
  throw new Error(`the map with id ${id} is closed`)
}
