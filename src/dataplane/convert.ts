/** What was laid out by another build, as this one lays it out: fields by their names, slots by their enums. Pure. */
import type { Struct } from './codec.js'
import { slotLayout, slotState } from './layout.js'
import type { MapLayout } from './map-layout.js'

interface AnyField {
  readonly offset: number
  readonly width: number
  /** Its bytes are a number, the lowest first: it may have another width. */
  readonly isNumber: boolean
}

type AnyFields = Readonly<Record<string, AnyField>>

const canBeRead = (was: { readonly width: number } | undefined, { width, isNumber }: AnyField): boolean =>
  was !== undefined && (was.width === width || isNumber)

/** Names this build reads, which were not there, or had another width. */
export const lackingFields = (from: MapLayout, to: AnyFields): readonly string[] =>
  Object.entries(to)
    .filter(([name, field]) => !canBeRead(from.fields.get(name), field))
    .map(([name]) => name)

type AnyStruct = Pick<Struct<never>, 'size'> & { readonly fields: AnyFields }

/**
 * Bytes of one record.
 *
 * @param lacking what it has where that is lacking; default: 0
 * @throws RangeError when a number has no room
 */
export const convertRecord = (
  record: Uint8Array,
  from: MapLayout,
  to: AnyStruct,
  lacking: Uint8Array = new Uint8Array(to.size),
): Uint8Array => {
  const out = lacking.slice()
  for (const [name, field] of Object.entries(to.fields)) {
    const was = from.fields.get(name)
    if (!was || !canBeRead(was, field)) continue
    const value = record.subarray(was.offset, was.offset + was.width)
    if (value.subarray(field.width).some(byte => byte !== 0))
      throw new RangeError(`${name} has ${was.width} bytes, of which ${field.width} are not enough`)
    out.fill(0, field.offset, field.offset + field.width)
    out.set(value.subarray(0, field.width), field.offset)
  }
  return out
}

const strideOf = (size: number): number => Math.ceil(size / 8) * 8

/** A whole array map, record by record; empty ones are passed over. `to` is empty, and nobody reads it yet. */
export const convertRecords = (
  memory: ArrayBuffer,
  from: MapLayout,
  target: ArrayBuffer,
  to: AnyStruct,
  lacking?: Uint8Array,
): void => {
  const [stride, width] = [strideOf(from.size), strideOf(to.size)]
  const words = new Uint32Array(memory)
  const bytes = new Uint8Array(memory)
  const out = new Uint8Array(target)
  const count = Math.min(memory.byteLength / stride, target.byteLength / width)
  for (let i = 0; i < count; i++) {
    const begin = (i * stride) / 4
    if (words.subarray(begin, begin + stride / 4).every(word => word === 0)) continue
    out.set(convertRecord(bytes.subarray(i * stride, i * stride + from.size), from, to, lacking), i * width)
  }
}

const states = Object.keys(slotState) as (keyof typeof slotState)[]

/** Why slots cannot be read; null: they can. */
export const slotsUnreadable = ({ size, values }: MapLayout): string | null => {
  const lacking = [...Object.keys(slotLayout), ...states].filter(name => !values.has(name))
  if (lacking.length > 0) return `its slots lack ${lacking.join(', ')}`
  return size === 8 ? null : `its slots have ${size} bytes`
}

/** All slots of all rings. `target` is empty, and nobody reads it yet. */
export const convertSlots = (memory: ArrayBuffer, { values }: MapLayout, target: ArrayBuffer): void => {
  const [words, out] = [new BigUint64Array(memory), new BigUint64Array(target)]
  const value = (name: string): bigint => BigInt(values.get(name)!)
  const mask = (1n << value('SLOT_CURRENT_BITS')) - 1n
  const [stateShift, homeShift] = [value('SLOT_STATE_SHIFT'), value('SLOT_HOME_SHIFT')]
  const stateBy = new Map(states.map(name => [value(name), BigInt(slotState[name])]))
  const count = Math.min(words.length, out.length)
  for (let i = 0; i < count; i++) {
    const word = words[i]!
    if (word === 0n) continue
    const state = stateBy.get((word >> stateShift) & 3n) ?? 0n
    out[i] =
      (((word >> homeShift) & mask) << BigInt(slotLayout.SLOT_HOME_SHIFT)) |
      (state << BigInt(slotLayout.SLOT_STATE_SHIFT)) |
      (word & mask)
  }
}
