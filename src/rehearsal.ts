/**
 * What a change of a ring runs through, a few times over on values of its own: code that has never run is interpreted,
 * and the first change that somebody waits for would take five times as long as the next ones.
 */
import { createRingSlots, slotMemory } from './dataplane/slots.js'
import { buildRing, countSlots, type FullRing, refillRing } from './ring.js'

const SIZE = 16381
const BACKENDS = 200
const CHANGES = 60
/** Slow machines start without. */
const LONGEST_MS = 100

const IDS = Array.from({ length: BACKENDS }, (_, index) => index + 1)
const IDENTITIES = IDS.map(id => `192.0.2.${id}:80`)

/** Equal weights, one or a few that differ, many: each takes other ways through the fill. */
const weightsOf = (change: number): number[] =>
  IDS.map((_, index) => {
    if (change % 4 === 3) return 1 + (index % 9)
    return index === change % BACKENDS ? 1 + ((change * 7) % 100) : 1
  })

/** @param now milliseconds, monotonic */
export const rehearse = (now: () => number): void => {
  const until = now() + LONGEST_MS
  let atMs = 0
  const slots = createRingSlots(slotMemory(new ArrayBuffer(SIZE * 8)), 0, SIZE, () => atMs)
  const rules = {
    tracking: 'on-change',
    takesNew: (id: number) => id % 5 !== 0,
    isGone: () => false,
  } as const
  let before: FullRing | undefined
  for (let change = 0; change < CHANGES && now() < until; change++) {
    const claims = weightsOf(change).map((weight, index) => ({ identity: IDENTITIES[index]!, weight }))
    const full = buildRing(claims, SIZE, before)
    const owners = refillRing(full, (_, index) => change % 3 === 2 && index % 10 === 0)
    countSlots(owners, BACKENDS)
    slots.setOwners(owners, IDS, rules)
    slots.tick({ from: 0, to: SIZE }, 8000, 'on-change', () => false)
    atMs += 1000
    before = full
  }
}
