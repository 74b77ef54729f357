import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const CLANGS = ['clang-19', 'clang', 'clang-18', 'clang-17', 'clang-16', 'clang-15', 'clang-14']
/** <asm/types.h> lies there. */
const MULTIARCH = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[process.arch as string] ?? ''

const clang = CLANGS.find(name => spawnSync(name, ['--version']).status === 0)

/** The object of `directory`/balancer.bpf.c, with warnings allowed: a fault may leave something unused. */
export const compile = (directory: string): Uint8Array => {
  if (clang === undefined) throw new Error('no clang is installed')
  const object = join(directory, 'balancer.bpf.o')
  const flags = ['-g', '-O2', '-target', 'bpf', '-mcpu=v3', `-I${directory}`, `-I/usr/include/${MULTIARCH}`]
  const source = join(directory, 'balancer.bpf.c')
  const { status, stderr } = spawnSync(clang, [...flags, '-c', source, '-o', object], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${source} does not compile: ${stderr}`)
  return readFileSync(object)
}
