/** What a bench is: one question, how it is answered, and the figures. */

export interface BenchOptions {
  /** Fewer rounds and cases: good for a look, not for a comparison. */
  readonly isQuick: boolean
}

/** One figure; `name`, `value` and `unit` say what it is, the rest puts it into proportion. */
export interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** The least and the greatest that the median was taken from. */
  readonly range?: readonly [least: number, greatest: number]
  /** To what `ratioTo` says. */
  readonly ratio?: number
  readonly ratioTo?: string
  /** Never decides anything: timings are to be read. */
  readonly budget?: { readonly of: 'value' | 'ratio' } & (
    | { readonly atMost: number }
    | { readonly atLeast: number }
  )
  readonly note?: string
}

export interface Answer {
  readonly figures: readonly Figure[]
  /** What the figures were measured on: frames, tables, programs. */
  readonly setup: readonly string[]
}

export interface Bench {
  readonly name: string
  readonly question: string
  readonly method: string
  /** Root and BPF; runs in a network namespace of its own. */
  readonly needsKernel: boolean
  readonly run: (options: BenchOptions) => Promise<Answer>
}

/** What ran is not what was to be measured: a wrong verdict, a lost frame. The figures are worth nothing. */
export class WrongMeasurement extends Error {
  override readonly name = 'WrongMeasurement'
}

export const check = (isRight: boolean, message: string): void => {
  if (!isRight) throw new WrongMeasurement(message)
}
