/** One number out of many. */

const sorted = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b)

/** The middle one, or the mean of the middle two. */
export const median = (values: readonly number[]): number => {
  const all = sorted(values)
  const middle = all.length >> 1
  return all.length % 2 === 1 ? all[middle]! : (all[middle - 1]! + all[middle]!) / 2
}

/**
 * What it takes when nothing interferes: the 10th percentile. Where two CPUs are the threads of one core, work on the
 * other slows this one by half; such rounds come in two kinds, and their median says which kind was more frequent.
 */
export const undisturbed = (values: readonly number[]): number =>
  sorted(values)[Math.floor((values.length - 1) / 10)]!

/** Lines that say so where much interfered: such figures are to be taken again. */
export const disturbance = (series: readonly (readonly number[])[]): string[] => {
  const excess = median(series.map(values => median(values) / undisturbed(values) - 1))
  return excess < 0.1
    ? []
    : [`DISTURBED: half of the rounds took ${Math.round(100 * excess)} % longer; repeat on a quiet machine`]
}

/** The least value that at least this share of all does not exceed. @param share 0..1 */
export const percentile = (values: readonly number[], share: number): number => {
  const all = sorted(values)
  return all[Math.max(0, Math.ceil(share * all.length) - 1)] ?? Number.NaN
}
