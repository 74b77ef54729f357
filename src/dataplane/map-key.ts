/** The key, or the value, of an array map's row: a u32 as the kernel of this host has it. */
export const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer)
