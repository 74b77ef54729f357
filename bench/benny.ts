/** Pure parts, timed by benny. */
import b from 'benny'
import type { BenchOptions, Figure } from './bench.js'
import { undisturbed } from './statistics.js'

export interface TimedCase {
  readonly name: string
  /** What is timed; a promise is awaited. */
  readonly run: () => unknown
  /** How many things one call does; the figure is for one of them. */
  readonly per?: number
  /** In the figure's unit. */
  readonly budget?: number
}

export type TimeUnit = 'ms' | 'us' | 'ns'

const PER_SECOND: Readonly<Record<TimeUnit, number>> = { ms: 1e3, us: 1e6, ns: 1e9 }

export const BENNY_METHOD = 'benny, wall-clock time, undisturbed (10th percentile) of its samples'

/** @returns a figure a case; each ratio is to the first */
export const timeCases = async (
  title: string,
  cases: readonly TimedCase[],
  unit: TimeUnit,
  { isQuick }: BenchOptions,
): Promise<Figure[]> => {
  const { results } = await b.suite(
    title,
    b.configure({ cases: { minSamples: isQuick ? 5 : 20, minTime: 0.02, maxTime: isQuick ? 0.3 : 1.5 } }),
    ...cases.map(({ name, run }) => b.add(name, () => run)),
  )
  const values = cases.map(
    ({ per = 1 }, i) => (undisturbed(results[i]!.details.sampleResults) * PER_SECOND[unit]) / per,
  )
  return cases.map(({ name, budget }, i) => ({
    name,
    value: values[i]!,
    unit,
    ...(i === 0 ? {} : { ratio: values[i]! / values[0]!, ratioTo: 'the first' }),
    ...(budget === undefined ? {} : { budget: { of: 'value', atMost: budget } }),
    note: `${Math.round(PER_SECOND[unit] / values[i]!).toLocaleString('en')} a second; all samples +-${results[i]!.margin} %`,
  }))
}
