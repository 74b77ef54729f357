/**
 * Do the data plane and what join attaches load and work on the oldest kernel that is supported, Debian 12's 6.1? Its
 * verifier refuses things that later ones accept. Boots that kernel in QEMU with a small initramfs: busybox, the loader of loader.c with
 * its libraries, the BPF object. The kernel's package is kept in build/guest.
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** What is loaded there: by the loader's name, the object's. */
const LOADERS = { loader: 'balancer', translate: 'balancer', decap: 'decap', toa: 'toa' } as const
const OBJECTS = join(ROOT, 'build/native/bpf')
const WORK = join(ROOT, 'build/guest')
const BOOT_TIMEOUT_MS = 100_000

const INIT = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
echo "kernel $(/bin/busybox uname -r)"
${Object.entries(LOADERS)
  .map(([loader, object]) => `/${loader} /${object}.bpf.o 2>&1\necho "${loader}: exit code $?"`)
  .join('\n')}
/bin/busybox poweroff -f
`

const run = (
  program: string,
  args: readonly string[],
  options: { cwd?: string; input?: string } = {},
): string =>
  execFileSync(program, [...args], {
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: 300_000,
    ...options,
  })

const newestPackage = (): string | undefined => {
  const found = run('apt-cache', ['search', '--names-only', '^linux-image-6\\.1\\.0-[0-9]+-cloud-amd64$'])
  const number = (name: string) => Number(/6\.1\.0-(\d+)/.exec(name)?.[1])
  return [...found.matchAll(/^\S+/gm)].map(match => match[0]).sort((a, b) => number(b) - number(a))[0]
}

const findKernel = (): string | undefined => {
  const boot = join(WORK, 'kernel/boot')
  const image = existsSync(boot) ? readdirSync(boot).find(name => name.startsWith('vmlinuz-')) : undefined
  return image && join(boot, image)
}

/** The kernel's image: the one kept, else the newest that apt has; Debian withdraws versions over time. */
const fetchKernel = (): string => {
  const present = findKernel()
  if (present) return present
  let name = newestPackage()
  if (!name) {
    run('apt-get', ['-qq', 'update'])
    name = newestPackage()
  }
  if (!name) throw new Error('apt knows no linux-image-6.1.0-*-cloud-amd64: Debian 12 sources are needed')
  run('apt-get', ['-qq', 'download', '-o', 'APT::Sandbox::User=root', name], { cwd: WORK })
  const archive = readdirSync(WORK).find(file => file.startsWith(`${name}_`) && file.endsWith('.deb'))
  if (!archive) throw new Error(`apt-get did not download ${name}`)
  run('dpkg-deb', ['-x', join(WORK, archive), join(WORK, 'kernel')])
  rmSync(join(WORK, archive))
  rmSync(join(WORK, 'kernel/lib'), { recursive: true, force: true }) // modules: nothing here needs one
  return findKernel() ?? join(WORK, 'kernel/boot/vmlinuz')
}

/** The shared libraries of a program, its ELF interpreter too, by absolute path. */
const librariesOf = (program: string): string[] =>
  [...run('ldd', [program]).matchAll(/(\/\S+) \(0x/g)].map(match => match[1] ?? '')

const buildInitramfs = (): string => {
  const root = join(WORK, 'root')
  rmSync(root, { recursive: true, force: true })
  for (const directory of ['bin', 'proc', 'sys', 'dev']) mkdirSync(join(root, directory), { recursive: true })
  for (const [name, object] of Object.entries(LOADERS)) {
    const loader = join(root, name)
    const source = join(ROOT, `test/guest/${name}.c`)
    run('gcc', ['-O1', '-Wall', '-Wextra', '-Werror', '-o', loader, source, '-lbpf'])
    for (const library of librariesOf(loader)) {
      mkdirSync(join(root, dirname(library)), { recursive: true })
      copyFileSync(library, join(root, library))
    }
    copyFileSync(join(OBJECTS, `${object}.bpf.o`), join(root, `${object}.bpf.o`))
  }
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'))
  writeFileSync(join(root, 'init'), INIT, { mode: 0o755 })
  const image = join(WORK, 'initramfs.cpio')
  run('sh', ['-c', `find . | cpio --quiet -o -H newc >${image}`], { cwd: root })
  return image
}

const bootGuest = (kernel: string, initramfs: string): string =>
  execFileSync(
    'qemu-system-x86_64',
    [
      ...[
        '-M',
        'q35',
        '-cpu',
        'max',
        '-smp',
        '1',
        '-m',
        '512',
        '-nodefaults',
        '-no-reboot',
        '-display',
        'none',
      ],
      ...['-serial', 'stdio', '-accel', 'tcg', '-kernel', kernel, '-initrd', initramfs],
      ...['-append', 'console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off rdinit=/init'],
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: BOOT_TIMEOUT_MS, killSignal: 'SIGKILL' },
  )

const main = (): void => {
  if (process.arch !== 'x64')
    throw new Error(`the guest's kernel is for x86-64, this machine is ${process.arch}`)
  for (const object of Object.values(LOADERS))
    if (!existsSync(join(OBJECTS, `${object}.bpf.o`)))
      throw new Error(`${object}.bpf.o is missing: run npm run setup`)
  mkdirSync(WORK, { recursive: true })
  const output = bootGuest(fetchKernel(), buildInitramfs())
  const said = output.replaceAll('\r', '').split('\n')
  process.stdout.write(`${said.filter(line => line.trim() !== '').join('\n')}\n`)
  for (const loader of Object.keys(LOADERS))
    if (!said.includes(`${loader}: exit code 0`))
      throw new Error(`the guest did not say that ${loader} is well`)
}

try {
  main()
} catch (error) {
  process.stderr.write(`guest: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
