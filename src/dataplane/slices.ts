/** Work on all slots of many rings without holding up the event loop. */
import type { RingSlots, Slice } from './slots.js'

/** Looked at between two turns of the event loop: 1 or 2 ms where each of them is written. */
const SLICE_SLOTS = 16384

const nextTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/**
 * Calls `work` for slice after slice of ring after ring. The first slice is done at once; what is small is done when the
 * function returns.
 *
 * @param isPresent whether a ring is still in use: it may go between two slices
 */
export const inSlices = async <R extends { readonly slots: RingSlots }>(
  rings: Iterable<R>,
  isPresent: (ring: R, slots: RingSlots) => boolean,
  work: (ring: R, slice: Slice) => void,
): Promise<void> => {
  let left = SLICE_SLOTS
  for (const ring of rings) {
    const { slots } = ring
    for (let from = 0; from < slots.size; ) {
      if (left === 0) {
        await nextTurn()
        left = SLICE_SLOTS
      }
      if (!isPresent(ring, slots)) break
      const to = Math.min(slots.size, from + left)
      work(ring, { from, to })
      left -= to - from
      from = to
    }
  }
}
