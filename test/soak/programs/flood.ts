/**
 * Sends SYNs as live frames, each of another flow: `flood.ts DEVICE TO_MAC VIP PORT FRAMES PER_SECOND`, in the sender's
 * namespace. Prints how many were sent.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { encodePacket, HEAD, testRunContext, u32Bytes } from '../../../bench/data-plane/packet.js'
import { loadNative } from '../../../src/native.js'
import { frame, ipv4 } from '../../fixtures/frames.js'
import { ifindexOf } from '../../fixtures/host.js'
import { tcp, tcpFlags } from '../../fixtures/transport.js'

const OBJECT = fileURLToPath(new URL('../../../build/native/bpf/live_frames.bpf.o', import.meta.url))
const BATCH = 32
const SLICE_MS = 20

const [device = '', to = '', vip = '', port, frames, perSecond] = process.argv.slice(2)
const ifindex = ifindexOf(device)
const elf = readFileSync(OBJECT)

/** All source ports of one client: another address needs another checksum, and so another frame. */
const PORTS = 65536
const clientOf = async (index: number): Promise<(repeat: number) => Promise<unknown>> => {
  const from = `198.18.${index >> 8}.${index & 255}`
  const syn = frame(
    { to, from: '02:00:00:00:f1:00' },
    ipv4({ from, to: vip }, tcp({ from: 0, to: Number(port), flags: tcpFlags.SYN })),
  )
  const object = new (loadNative().BpfObject)(elf)
  const flowFields = { address: 26, ports: 34, isIpv6: false }
  const packet = { frame: syn, rewritten: HEAD, pushed: 0, flows: PORTS, flowFields }
  object.setInitialValue('.rodata', encodePacket(packet))
  await object.load()
  object.map('ways').update(u32Bytes(0), u32Bytes(ifindex))
  const generate = object.program('generate')
  object.close()
  const context = testRunContext(syn, ifindex)
  return repeat => generate.testRun({ data: syn, context, repeat, liveFrames: true, batchSize: BATCH })
}

const repeat = Math.ceil((Number(perSecond) * SLICE_MS) / 1000)
let sent = 0
let due = performance.now()
for (let client = 1; sent < Number(frames); client++) {
  const send = await clientOf(client)
  for (let ports = 0; ports < PORTS && sent < Number(frames); ports += repeat) {
    await send(Math.min(repeat, PORTS - ports))
    sent += Math.min(repeat, PORTS - ports)
    due = Math.max(due + SLICE_MS, performance.now() - 10 * SLICE_MS)
    await sleep(Math.max(0, due - performance.now()))
  }
}
process.stdout.write(`${sent}\n`)
