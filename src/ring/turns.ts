/**
 * Turns by credit. In each pass everybody's credit grows by its weight; who has as much as the greatest weight pays
 * that and takes a turn. Equal weights: everybody, each pass.
 *
 * Members of one weight always take turns together, so credit is kept per weight, and a calendar of the passes to
 * come says which weights are due: a pass costs no more than the turns in it, however uneven the weights are.
 */
export interface Turns {
  /** Members in the order of their turns. */
  readonly batch: Int32Array
  /** Writes the next turns into `batch`: some whole passes. @returns how many turns */
  next(): number
}

/** A batch ends with the pass that reaches so many turns. */
const BATCH_TURNS = 1024

/** Up to so many members of several weights are put in order one by one, more by a bitmap. */
const FEW_MEMBERS = 12

/** The members by weight: group g has `weights[g]` and the places from `starts[g]` to `starts[g + 1]`, ascending. */
interface Groups {
  readonly weights: Int32Array
  readonly starts: Int32Array
  readonly places: Int32Array
}

const groupByWeight = (members: Int32Array, weights: Int32Array): Groups => {
  const placesOf = new Map<number, number[]>()
  for (let place = 0; place < members.length; place++) {
    const weight = weights[members[place]!]!
    const places = placesOf.get(weight)
    if (places) places.push(place)
    else placesOf.set(weight, [place])
  }
  const groups = {
    weights: Int32Array.from(placesOf.keys()),
    starts: new Int32Array(placesOf.size + 1),
    places: new Int32Array(members.length),
  }
  let group = 0
  for (const places of placesOf.values()) {
    groups.places.set(places, groups.starts[group]!)
    groups.starts[group + 1] = groups.starts[group]! + places.length
    group++
  }
  return groups
}

/**
 * @param members who takes part, in the order of turns within a pass; at least one
 * @param weights by member: 1 or more
 */
export const takeTurns = (members: Int32Array, weights: Int32Array): Turns => {
  const groups = groupByWeight(members, weights)
  const batch = new Int32Array(BATCH_TURNS + members.length)
  const calendar = makeCalendar(groups.weights)
  const append = appendInOrder(groups, batch)
  return {
    batch,
    next() {
      let count = 0
      while (count < BATCH_TURNS) count = append(calendar.due, calendar.nextPass(), count)
      for (let turn = 0; turn < count; turn++) batch[turn] = members[batch[turn]!]!
      return count
    },
  }
}

/** Which groups have saved enough, pass by pass. */
const makeCalendar = (weights: Int32Array) => {
  const price = weights.reduce((greatest, weight) => Math.max(greatest, weight), 0)
  const credits = new Int32Array(weights.length)
  const due = new Int32Array(weights.length)
  // The groups due in pass p are a list: first days[p % days.length], then along `after`; -1 ends it.
  const days = new Int32Array(price + 1).fill(-1)
  const after = new Int32Array(weights.length)
  let today = 0

  const schedule = (group: number): void => {
    const wait = Math.ceil((price - credits[group]!) / weights[group]!) // 1..price passes
    credits[group]! += wait * weights[group]! - price
    let day = today + wait
    if (day > price) day -= price + 1
    after[group] = days[day]!
    days[day] = group
  }
  for (let group = 0; group < weights.length; group++) schedule(group)

  return {
    due,
    /** @returns how many of `due` are due in the next pass: one at least, that of the greatest weight */
    nextPass(): number {
      today = today === price ? 0 : today + 1
      let count = 0
      for (let group = days[today]!; group >= 0; group = after[group]!) due[count++] = group
      days[today] = -1
      for (let i = 0; i < count; i++) schedule(due[i]!)
      return count
    },
  }
}

/** @returns a function that appends the places of the first `count` groups of `due` to `batch` at `end`, ascending */
const appendInOrder = ({ starts, places }: Groups, batch: Int32Array) => {
  const marks = new Int32Array((places.length + 31) >>> 5)

  const appendMarked = (end: number): number => {
    for (let word = 0; word < marks.length; word++) {
      for (let bits = marks[word]!; bits !== 0; bits &= bits - 1)
        batch[end++] = (word << 5) + 31 - Math.clz32(bits & -bits)
      marks[word] = 0
    }
    return end
  }

  /** Keeps what was appended since `from` ascending. */
  const insert = (place: number, from: number, end: number): void => {
    let hole = end
    for (; hole > from && batch[hole - 1]! > place; hole--) batch[hole] = batch[hole - 1]!
    batch[hole] = place
  }

  return (due: Int32Array, count: number, end: number): number => {
    let total = 0
    for (let i = 0; i < count; i++) total += starts[due[i]! + 1]! - starts[due[i]!]!
    let newEnd = end
    for (let i = 0; i < count; i++) {
      const from = starts[due[i]!]!
      const to = starts[due[i]! + 1]!
      if (count === 1) for (let at = from; at < to; at++) batch[newEnd++] = places[at]!
      else if (total <= FEW_MEMBERS) for (let at = from; at < to; at++) insert(places[at]!, end, newEnd++)
      else for (let at = from; at < to; at++) marks[places[at]! >>> 5]! |= 1 << (places[at]! & 31)
    }
    return newEnd === end ? appendMarked(end) : newEnd
  }
}
