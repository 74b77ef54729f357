/** Faults of the control process's half of docs/affinity.md: each must be seen by a test of test/affinity. */
import type { Fault } from './faults.js'

export interface ControlFault extends Fault {
  /** In test/affinity/. */
  readonly test: string
}

/** Each ends at the first flow that breaks. */
export const MODEL = 'balancer-model.ts'

const SLOT = { file: 'dataplane/slot.ts', test: 'slot.ts' } as const
const INVARIANT = { file: 'dataplane/slot.ts', test: 'slot-invariant.ts' } as const
const SWEEP = { file: 'dataplane/sweep.ts', test: 'sweep.ts' } as const

export const controlFaults: readonly ControlFault[] = [
  {
    ...INVARIANT,
    description: 'home is lost on a second change',
    search: 'return slotWord(state, owner, home)',
    replace: 'return slotWord(state, owner, current)',
  },
  {
    ...INVARIANT,
    description: 'a keeping slot forgets without a clean sweep',
    search: 'if (state !== K || !isClean) return word',
    replace: 'if (state !== K) return word',
  },
  {
    ...INVARIANT,
    description: 'learning ends before the idle time',
    search: 'sinceMs >= idleMs',
    replace: 'sinceMs >= idleMs / 2',
  },
  {
    ...INVARIANT,
    description: 'a slot whose owner changes learns nothing',
    search: 'return slotWord(rules.takesNew(current) ? G : L, owner, current)',
    replace: 'return slotWord(K, owner, 0)',
  },
  {
    ...SLOT,
    description: 'a change that is undone does not end',
    search: 'if (owner === home || rules.isGone(home))',
    replace: 'if (rules.isGone(home))',
  },
  {
    ...SLOT,
    description: 'a home that is gone stays home',
    search: 'return home !== 0 && rules.isGone(home) ? settled(current, rules.tracking) : word',
    replace: 'return word',
  },
  {
    ...SLOT,
    description: 'a drained home has a grace',
    search: 'rules.takesNew(current) ? G : L',
    replace: 'G',
  },
  {
    ...SLOT,
    description: 'grace does not end',
    search: 'return sinceMs >= GRACE_MS ? slotWord(L, current, homeOf(word)) : word',
    replace: 'return word',
  },
  {
    ...SWEEP,
    description: 'an open entry is removed as early as a half-open one',
    search: 'isOpen ? idle[service]! : short[service]!',
    replace: 'isOpen ? short[service]! : short[service]!',
  },
  {
    ...SWEEP,
    description: 'exceptions of keeping slots are not found',
    search: 'if (state === slotState.SLOT_KEEPING) exceptions.add(slot)',
    replace: '',
  },
  {
    ...SWEEP,
    description: 'the exceptions of keeping slots are removed',
    search: '(state === slotState.SLOT_KEEPING && (slotLow & ID_MASK) === id)',
    replace: 'state === slotState.SLOT_KEEPING',
  },
  {
    ...SWEEP,
    description: 'an entry is removed whatever was written meanwhile',
    search: 'return Atomics.compareExchange(whole, place, read, 0n) === read',
    replace: 'Atomics.store(whole, place, 0n)\n  return read > 0n',
  },
  {
    test: MODEL,
    file: 'balancer.ts',
    description: 'a backend that is out of the file after a restart is cut',
    search: 'settle(present => withStrays(present, held, clock.now()))',
    replace: '',
  },
  {
    test: MODEL,
    file: 'standing.ts',
    description: 'whoever drains is dead',
    search: 'return out(drained, admin.isOut,',
    replace: 'return out(drained, true,',
  },
  {
    test: MODEL,
    file: 'effect.ts',
    description: 'slots found at the start are emptied until all is known',
    search: 'found.has(identity) && settling.has(identity)',
    replace: 'false',
  },
  {
    test: 'home.ts',
    file: 'dataplane/tracking.ts',
    description: 'a drain ends while flows without an entry rest',
    search: 'isExact: !at.slots.isHome(id),',
    replace: 'isExact: true,',
  },
  {
    test: MODEL,
    file: 'dataplane/growth.ts',
    description: 'the slots are lost as the tables grow',
    search: 'if (after.byteLength !== before.byteLength)',
    replace: 'if (after.byteLength < 0)',
  },
  {
    test: MODEL,
    file: 'dataplane/slots.ts',
    description: 'a slot is forgotten in spite of its exceptions',
    search: 'exceptions.has(base + slot)',
    replace: 'false',
  },
]
