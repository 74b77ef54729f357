/** Loads bench/trampoline.bpf.c for one frame, and enters the program to be measured through it. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { loadNative } from '../../src/native.js'
import { encodePacket, type PacketKind, testRunContext, u32Bytes } from './packet.js'

const OBJECT = fileURLToPath(new URL('../../build/native/bpf/trampoline.bpf.o', import.meta.url))

export interface Trampoline {
  /** Which program is entered from here on, by its descriptor. */
  aim(programFd: number): void
  /** Runs it, from interface `ifindex`. @returns CPU time in all, and of the last run the XDP action and the frame */
  run(
    repeat: number,
    ifindex: number,
  ): { readonly cpuNs: number; readonly action: number; readonly frame: Uint8Array }
  /** A program that does nothing but return XDP_TX. */
  readonly emptyFd: number
  /** One that does nothing but put `kind.pushed` bytes ahead of the frame; it returns XDP_TX. */
  readonly pushFd: number
  close(): void
}

/** The descriptors under which this process holds programs. By fdinfo, for it needs no pin and so no bpffs. */
export const programFds = (field: 'prog_id' | 'prog_tag', value: string | number): number[] => {
  const line = new RegExp(`^${field}:\\t${value}$`, 'm')
  return readdirSync('/proc/self/fdinfo').flatMap(fd => {
    try {
      return line.test(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')) ? [Number(fd)] : []
    } catch {
      // the directory's own descriptor, closed by now
      return []
    }
  })
}

/** The first of them. */
export const programFd = (field: 'prog_id' | 'prog_tag', value: string | number): number => {
  const [fd] = programFds(field, value)
  if (fd === undefined) throw new Error(`this process holds no program with ${field} ${value}`)
  return fd
}

/** A field of a held program's fdinfo. */
export const programInfo = (fd: number, field: 'prog_id' | 'verified_insns'): string =>
  readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8').match(new RegExp(`^${field}:\\t(\\S+)$`, 'm'))?.[1] ??
  'unknown'

export const loadTrampoline = async (kind: PacketKind): Promise<Trampoline> => {
  const native = loadNative()
  const object = new native.BpfObject(readFileSync(OBJECT))
  object.setInitialValue('.rodata', encodePacket(kind))
  await object.load()
  const measured = object.map('measured')
  const enter = object.program('enter')
  const empty = object.program('empty')
  const push = object.program('push')
  object.close()
  return {
    emptyFd: programFd('prog_id', empty.info.id),
    pushFd: programFd('prog_id', push.info.id),
    aim: fd => measured.update(u32Bytes(0), u32Bytes(fd)),
    run: (repeat, ifindex) => {
      const context = testRunContext(kind.frame, ifindex)
      const { cpuNs, returnValue, data } = enter.testRunSync({ data: kind.frame, context, repeat })
      return { cpuNs, action: returnValue, frame: data ?? new Uint8Array(0) }
    },
    close: () => {
      for (const held of [measured, enter, empty, push]) held.close()
    },
  }
}
