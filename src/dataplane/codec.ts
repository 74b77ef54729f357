/** Records <-> bytes, by the descriptors of layout.ts. Host order is little-endian unless the type says `be`. */

const hostIsLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

/** One member: where it lies, how it is read and written. */
export interface Field<T> {
  readonly offset: number
  /** Bytes. */
  readonly width: number
  /** Its bytes are a number, the lowest first. */
  readonly isNumber: boolean
  readonly read: (view: DataView, at: number) => T
  readonly write: (view: DataView, at: number, value: T) => void
}

const field =
  <T>(width: number, read: Field<T>['read'], write: Field<T>['write'], isInHostOrder = true) =>
  (offset: number): Field<T> => ({
    offset,
    width,
    isNumber: isInHostOrder && hostIsLittleEndian,
    read,
    write,
  })

export const u8 = field<number>(
  1,
  (v, at) => v.getUint8(at),
  (v, at, x) => v.setUint8(at, x),
)
export const u16 = field<number>(
  2,
  (v, at) => v.getUint16(at, hostIsLittleEndian),
  (v, at, x) => v.setUint16(at, x, hostIsLittleEndian),
)
export const u32 = field<number>(
  4,
  (v, at) => v.getUint32(at, hostIsLittleEndian),
  (v, at, x) => v.setUint32(at, x, hostIsLittleEndian),
)
export const u64 = field<bigint>(
  8,
  (v, at) => v.getBigUint64(at, hostIsLittleEndian),
  (v, at, x) => v.setBigUint64(at, x, hostIsLittleEndian),
)
export const u16be = field<number>(
  2,
  (v, at) => v.getUint16(at),
  (v, at, x) => v.setUint16(at, x),
  false,
)
export const u32be = field<number>(
  4,
  (v, at) => v.getUint32(at),
  (v, at, x) => v.setUint32(at, x),
  false,
)

/** `length` bytes as they are; a value of another length is a RangeError. */
export const bytes = (offset: number, length: number): Field<Uint8Array> => ({
  offset,
  width: length,
  isNumber: false,
  read: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, length).slice(),
  write: (view, at, value) => {
    if (value.length !== length) throw new RangeError(`${value.length} bytes for a field of ${length}`)
    new Uint8Array(view.buffer, view.byteOffset + at, length).set(value)
  },
})

/** `count` u64 one after the other. */
export const u64s = (offset: number, count: number): Field<readonly bigint[]> => ({
  offset,
  width: 8 * count,
  isNumber: false,
  read: (view, at) =>
    Array.from({ length: count }, (_, i) => view.getBigUint64(at + 8 * i, hostIsLittleEndian)),
  write: (view, at, value) => {
    if (value.length !== count) throw new RangeError(`${value.length} words for a field of ${count}`)
    value.forEach((x, i) => {
      view.setBigUint64(at + 8 * i, x, hostIsLittleEndian)
    })
  },
})

type Fields = Readonly<
  Record<string, Field<never> | Field<number> | Field<bigint> | Field<Uint8Array> | Field<readonly bigint[]>>
>
type ValueOf<F> = F extends Field<infer T> ? T : never
export type RecordOf<S> = S extends Struct<infer F> ? { readonly [K in keyof F]: ValueOf<F[K]> } : never

export interface Struct<F extends Fields> {
  /** Bytes, trailing padding included. */
  readonly size: number
  readonly fields: F
  /** A fresh encoding; padding is zero. */
  encode(record: { readonly [K in keyof F]: ValueOf<F[K]> }): Uint8Array
  /** `from`: at least `size` bytes from `offset` on. */
  decode(from: Uint8Array, offset?: number): { readonly [K in keyof F]: ValueOf<F[K]> }
}

export const struct = <F extends Fields>(size: number, fields: F): Struct<F> => ({
  size,
  fields,
  encode: record => {
    const out = new Uint8Array(size)
    const view = new DataView(out.buffer)
    for (const [name, { offset, write }] of Object.entries(fields))
      (write as Field<unknown>['write'])(view, offset, record[name as keyof F])
    return out
  },
  decode: (from, offset = 0) => {
    if (from.length - offset < size)
      throw new RangeError(`${from.length - offset} bytes for a record of ${size}`)
    const view = new DataView(from.buffer, from.byteOffset + offset, size)
    return Object.fromEntries(
      Object.entries(fields).map(([name, { offset: at, read }]) => [name, read(view, at)]),
    ) as { readonly [K in keyof F]: ValueOf<F[K]> }
  },
})
