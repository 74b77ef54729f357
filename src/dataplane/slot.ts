/**
 * A ring slot and the rules by which its owner changes. Pure. docs/affinity.md has the whole table; the data plane's half is
 * bpf/recall.h.
 *
 * Invariant: in a tracked slot a flow either has an entry in the flow cache, or belongs to the one backend that a miss
 * yields: `home` in G and L, `current` in K.
 */
import { slotLayout, slotState } from './layout.js'

export const { SLOT_UNTRACKED: U, SLOT_GRACE: G, SLOT_LEARNING: L, SLOT_KEEPING: K } = slotState

/** A slot's u64 as a number: `home` above, state and `current` below; less than 2^52, so exact. */
export type SlotWord = number

const HOME = 2 ** slotLayout.SLOT_HOME_SHIFT
const STATE = 2 ** slotLayout.SLOT_STATE_SHIFT
const ID_MASK = 2 ** slotLayout.SLOT_CURRENT_BITS - 1

export const slotWord = (state: number, current: number, home: number): SlotWord =>
  home * HOME + state * STATE + current

export const currentOf = (word: SlotWord): number => (word >>> 0) & ID_MASK
export const stateOf = (word: SlotWord): number => (word >>> slotLayout.SLOT_STATE_SHIFT) & 3
export const homeOf = (word: SlotWord): number => Math.floor(word / HOME) & ID_MASK

export interface OwnerRules {
  readonly tracking: 'on-change' | 'always' | 'never'
  /** Alive and not draining: it may be given new flows. */
  readonly takesNew: (id: number) => boolean
  /** Out of the configuration for good: nobody goes back to it. Down, drained and disabled backends are not gone. */
  readonly isGone: (id: number) => boolean
}

/** Where a slot comes to rest when nothing is left to be remembered of `current`'s predecessor. */
const settled = (current: number, tracking: OwnerRules['tracking']): SlotWord =>
  tracking === 'always' ? slotWord(L, current, current) : slotWord(K, current, 0)

/** A slot at rest gets another owner: the old one stays home of the flows that nobody has remembered. */
const leave = (state: number, current: number, owner: number, rules: OwnerRules): SlotWord => {
  // Without a home: entries that there are stay exceptions.
  const bare = state === U ? U : K
  if (current === 0 || rules.isGone(current))
    return rules.tracking === 'always' ? settled(owner, 'always') : slotWord(bare, owner, 0)
  if (rules.tracking === 'never') return slotWord(bare, owner, 0)
  return slotWord(rules.takesNew(current) ? G : L, owner, current)
}

/**
 * The slot with `owner` (0: nobody) as its wanted owner; the same word when nothing changes. Whoever stores a word of
 * state G or L that was U or K before starts the slot's clock (t0) anew.
 */
export const withOwner = (word: SlotWord, owner: number, rules: OwnerRules): SlotWord => {
  const state = stateOf(word)
  const current = currentOf(word)
  const home = homeOf(word)
  if (state === U || state === K) {
    if (owner !== current) return leave(state, current, owner, rules)
    return state === U && rules.tracking === 'always' && owner !== 0 ? settled(owner, 'always') : word
  }
  const isResting = home === current
  if (owner === current) return home !== 0 && rules.isGone(home) ? settled(current, rules.tracking) : word
  if (isResting) return leave(L, current, owner, rules)
  if (owner === home || rules.isGone(home)) return settled(owner, rules.tracking)
  return slotWord(state, owner, home)
}

/** How long a slot stays in grace: handshakes under way come to their end. */
export const GRACE_MS = 4000

/**
 * The slot after some time: G becomes L, L settles, K is forgotten.
 *
 * @param sinceMs since t0: the owner's change, or the last flow that found no place
 * @param idleMs  the service's idle time
 * @param isClean K only: a whole sweep, begun after the slot became K, saw no live entry with another backend
 */
export const withTime = (
  word: SlotWord,
  sinceMs: number,
  idleMs: number,
  isClean: boolean,
  tracking: OwnerRules['tracking'],
): SlotWord => {
  const state = stateOf(word)
  const current = currentOf(word)
  if (state === G) return sinceMs >= GRACE_MS ? slotWord(L, current, homeOf(word)) : word
  if (state === L) {
    const isResting = homeOf(word) === current && tracking === 'always'
    return !isResting && sinceMs >= idleMs ? settled(current, tracking) : word
  }
  if (state !== K || !isClean) return word
  return tracking === 'always' ? settled(current, tracking) : slotWord(U, current, 0)
}
