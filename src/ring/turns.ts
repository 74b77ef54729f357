/**
 * Turns by credit. In each pass everybody's credit grows by its weight; who has as much as the greatest weight pays
 * that and takes a turn. Equal weights: everybody, each pass.
 *
 * Members of one weight always take turns together, so credit is kept per weight: a pass in which few have a turn
 * costs little, however many there are (one of weight 1000 among a thousand of weight 1).
 */
export interface Turns {
  /** Who has a turn in this pass, in order: the first `count` of `takers` (indexes into the weights). */
  takers: Int32Array
  count: number
  /** Goes on to the next pass in which anybody has a turn. */
  pass(): void
}

/** @param weights each at least 1; their order is the order of turns within a pass */
export const takeTurns = (weights: Int32Array): Turns => {
  const members = new Map<number, number[]>()
  weights.forEach((weight, index) => {
    const group = members.get(weight)
    if (group) group.push(index)
    else members.set(weight, [index])
  })
  const groups = [...members.values()].map(group => Int32Array.from(group))
  const gain = Int32Array.from(members.keys())
  const credit = new Int32Array(groups.length)
  const price = gain.reduce((greatest, weight) => Math.max(greatest, weight), 0)
  const marks = new Int32Array((weights.length + 31) >>> 5)
  const merged = new Int32Array(weights.length)
  const due = new Int32Array(groups.length)

  /** Joins the groups that have a turn, in the order of their members. */
  const merge = (dueCount: number): number => {
    for (let i = 0; i < dueCount; i++) {
      const group = groups[due[i]!]!
      for (let k = 0; k < group.length; k++) marks[group[k]! >>> 5]! |= 1 << (group[k]! & 31)
    }
    let count = 0
    for (let word = 0; word < marks.length; word++) {
      for (let bits = marks[word]!; bits !== 0; bits &= bits - 1)
        merged[count++] = (word << 5) + (31 - Math.clz32(bits & -bits))
      marks[word] = 0
    }
    return count
  }

  return {
    takers: merged,
    count: 0,
    pass() {
      let dueCount = 0
      for (let group = 0; group < credit.length; group++) {
        const saved = credit[group]! + gain[group]!
        const has = saved >= price
        credit[group] = has ? saved - price : saved
        if (has) due[dueCount++] = group
      }
      if (dueCount === 1) {
        this.takers = groups[due[0]!]!
        this.count = this.takers.length
      } else {
        this.takers = merged
        this.count = merge(dueCount)
      }
    },
  }
}
