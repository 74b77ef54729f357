/** The flow cache of a daemon that runs, filled by hand through the mapping. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { DEFAULT_LIMITS } from '../../src/config.js'
import { Dataplane, shapeFor } from '../../src/dataplane/dataplane.js'
import { createFlowClock } from '../../src/dataplane/flow-clock.js'
import { flowClass, flowLayout, slotLayout, slotState } from '../../src/dataplane/layout.js'
import { createServiceTable } from '../../src/dataplane/service-table.js'
import { slotOfEntry } from '../../src/dataplane/sweep.js'
import { loadNative } from '../../src/native.js'
import { check } from '../bench.js'

const { FLOWS_PER_BUCKET, FLOW_CLASS_SHIFT, FLOW_FINGERPRINT_BITS, FLOW_FINGERPRINT_SHIFT, FLOW_SEEN_SHIFT } =
  flowLayout
const ID_MASK = 2 ** slotLayout.SLOT_CURRENT_BITS - 1

export interface FilledCache {
  /** Places in all. */
  readonly entries: number
  /** Written, each of a flow on a tracked slot. */
  readonly live: number
  /** Writes an entry into the first place and one into the last, both of slots that are not tracked: a sweep removes them. */
  mark(): void
  /** Whether each is still there. */
  marks(): { readonly first: boolean; readonly last: boolean }
}

const mapped = async (pinDir: string, name: string): Promise<ArrayBuffer> => {
  const newest = Math.max(
    ...readdirSync(pinDir)
      .filter(entry => /^\d+$/.test(entry))
      .map(Number),
  )
  const map = loadNative().BpfMap.openPinned(join(pinDir, String(newest), 'maps', name))
  try {
    return await map.mmap()
  } finally {
    map.close()
  }
}

/** The kernel's clock is read by a program: that of a data plane of one's own. */
const flowClockNow = async (): Promise<number> => {
  const own = await Dataplane.load(shapeFor(DEFAULT_LIMITS, '0'.repeat(32), {}))
  try {
    const now = performance.now()
    return createFlowClock(own.jiffies(), now, loadNative().tickNs, () => now)()
  } finally {
    await own.close()
  }
}

/**
 * @param pinDir the daemon's; some of its slots are tracked, its cache is empty
 * @param fill   the share of places that get a live entry
 */
export const fillCache = async (pinDir: string, fill: number): Promise<FilledCache> => {
  const words = new Uint32Array(await mapped(pinDir, 'flow_cache'))
  const slots = new Uint32Array(await mapped(pinDir, 'slots'))
  const rings = createServiceTable(await mapped(pinDir, 'services'), 0, 0, () => 0).entries()
  const entries = words.length / 2
  const bits = Math.log2(entries / FLOWS_PER_BUCKET)
  const seen = await flowClockNow()

  const write = (place: number, id: number, fingerprint: number): void => {
    words[2 * place] = id | (seen << FLOW_SEEN_SHIFT)
    words[2 * place + 1] =
      (seen >>> (32 - FLOW_SEEN_SHIFT)) |
      (flowClass.FLOW_OPEN << (FLOW_CLASS_SHIFT - 32)) |
      (fingerprint << (FLOW_FINGERPRINT_SHIFT - 32))
  }
  /** Finds a fingerprint for this place that lies on a slot as asked; its slot's current backend is the flow's. */
  const put = (place: number, isTracked: boolean): void => {
    for (let attempt = 0; attempt < 1000; attempt++) {
      const { ringBase, ringSize } = rings[Math.floor(Math.random() * rings.length)]!
      const fingerprint = Math.floor(Math.random() * 2 ** FLOW_FINGERPRINT_BITS)
      const slot = ringBase + slotOfEntry(Math.floor(place / FLOWS_PER_BUCKET), fingerprint, bits, ringSize)
      const low = slots[2 * slot]!
      const state = (low >>> slotLayout.SLOT_STATE_SHIFT) & 3
      if ((state !== slotState.SLOT_UNTRACKED) !== isTracked) continue
      write(place, low & ID_MASK, fingerprint)
      return
    }
    check(false, `no ${isTracked ? 'tracked' : 'untracked'} slot was found`)
  }

  let live = 0
  for (let place = 1; place < entries - 1; place++) {
    if (Math.random() >= fill) continue
    put(place, true)
    live++
  }
  const isThere = (place: number): boolean => (words[2 * place]! | words[2 * place + 1]!) !== 0
  return {
    entries,
    live,
    mark: () => {
      put(0, false)
      put(entries - 1, false)
    },
    marks: () => ({ first: isThere(0), last: isThere(entries - 1) }),
  }
}
