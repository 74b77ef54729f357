/** Loads bench/trampoline.bpf.c for one frame, and enters the program to be measured through it. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { struct, u16, u32, u64 } from '../../src/dataplane/codec.js'
import { loadNative } from '../../src/native.js'

const OBJECT = fileURLToPath(new URL('../../build/native/bpf/trampoline.bpf.o', import.meta.url))

/** `packet` in trampoline.bpf.c. */
const packetLayout = struct(40, {
  macs: u64(0),
  addr: u64(8),
  macsRest: u32(16),
  ports: u32(20),
  flowMask: u32(24),
  frameLen: u32(28),
  addrOffset: u16(32),
  portsOffset: u16(34),
  isIpv6: u32(36),
})

/** Offsets in the frame of what tells one flow from another. */
export interface FlowFields {
  /** Of an IPv4 address, or of an IPv6 address's last 8 bytes. */
  readonly address: number
  readonly ports: number
  readonly isIpv6: boolean
}

export interface TrampolineOptions {
  readonly frame: Uint8Array
  /** A power of two up to 2^32. */
  readonly flows: number
  /** null: every frame is the same. */
  readonly flowFields: FlowFields | null
}

export interface Trampoline {
  /** Which program is entered from here on, by its descriptor. */
  aim(programFd: number): void
  /** Runs it, from interface `ifindex`. @returns CPU time in all, and the XDP action of the last run */
  run(repeat: number, ifindex: number): { readonly cpuNs: number; readonly action: number }
  /** A program that does nothing but return XDP_TX. */
  readonly emptyFd: number
  close(): void
}

/** The descriptor under which this process holds a program. By fdinfo, for it needs no pin and so no bpffs. */
export const programFd = (field: 'prog_id' | 'prog_tag', value: string | number): number => {
  const line = new RegExp(`^${field}:\\t${value}$`, 'm')
  for (const fd of readdirSync('/proc/self/fdinfo')) {
    try {
      if (line.test(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))) return Number(fd)
    } catch {
      // the directory's own descriptor, closed by now
    }
  }
  throw new Error(`this process holds no program with ${field} ${value}`)
}

/** A field of a held program's fdinfo. */
export const programInfo = (fd: number, field: 'prog_id' | 'verified_insns'): string =>
  readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8').match(new RegExp(`^${field}:\\t(\\S+)$`, 'm'))?.[1] ??
  'unknown'

const u32Bytes = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer)

const encodePacket = ({ frame, flows, flowFields }: TrampolineOptions): Uint8Array => {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length)
  const ports = flowFields ? view.getUint32(flowFields.ports, true) : 0
  const addr = !flowFields
    ? 0n
    : flowFields.isIpv6
      ? view.getBigUint64(flowFields.address, true)
      : BigInt(view.getUint32(flowFields.address, true))
  return packetLayout.encode({
    macs: view.getBigUint64(0, true),
    macsRest: view.getUint32(8, true),
    addr,
    // Many flows: the source port is counted up from 0.
    ports: flows === 1 ? ports : (ports & 0xffff0000) >>> 0,
    flowMask: flows - 1,
    frameLen: frame.length,
    addrOffset: flowFields?.address ?? 0,
    portsOffset: flowFields?.ports ?? 0,
    isIpv6: flowFields?.isIpv6 ? 1 : 0,
  })
}

export const loadTrampoline = async (options: TrampolineOptions): Promise<Trampoline> => {
  const native = loadNative()
  const object = new native.BpfObject(readFileSync(OBJECT))
  object.setInitialValue('.rodata', encodePacket(options))
  await object.load()
  const measured = object.map('measured')
  const enter = object.program('enter')
  const empty = object.program('empty')
  object.close()
  return {
    emptyFd: programFd('prog_id', empty.info.id),
    aim: fd => measured.update(u32Bytes(0), u32Bytes(fd)),
    run: (repeat, ifindex) => {
      const context = new Uint8Array(Uint32Array.of(0, options.frame.length, 0, ifindex, 0, 0).buffer)
      const { cpuNs, returnValue } = enter.testRunSync({ data: options.frame, context, repeat })
      return { cpuNs, action: returnValue }
    },
    close: () => {
      for (const held of [measured, enter, empty]) held.close()
    },
  }
}
