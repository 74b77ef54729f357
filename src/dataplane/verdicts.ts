/** How a packet's journey ends, by the numbers of bpf/shared.h. */
import { verdict } from './layout.js'

export type Verdict = keyof typeof verdict

export const verdictNames: ReadonlyMap<number, Verdict> = new Map(
  Object.entries(verdict).map(([name, value]) => [value, name as Verdict]),
)
