/** The private network namespace that benches of the kernel run in. */
import { spawn } from 'node:child_process'
import { createNamespaces } from '../src/lab/namespaces.js'
import { run } from '../src/lab/process.js'
import { loadNative } from '../src/native.js'

/** Runs a program there with this process's own input and output; the namespace goes with it. @returns its exit code */
export const inNamespace = async (program: string, args: readonly string[]): Promise<number> => {
  const namespaces = createNamespaces()
  try {
    const host = await namespaces.add('bench')
    await host.sysctl({ 'ipv6/conf/all/disable_ipv6': 1, 'ipv6/conf/default/disable_ipv6': 1 })
    const [command, ...rest] = host.command([program, ...args])
    const child = spawn(command, rest, { stdio: 'inherit' })
    return await new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', code => resolve(code ?? 1))
    })
  } finally {
    await namespaces.close()
  }
}

/** Adds a veth pair to this namespace, both ends up, in place of an earlier one of that name. @returns their ifindexes */
export const addVethPair = async (name: string, peer: string): Promise<[number, number]> => {
  if ((await linksByName()).has(name)) await run(['ip', 'link', 'del', name])
  await run(['ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', peer])
  for (const end of [name, peer]) await run(['ip', 'link', 'set', end, 'up'])
  const links = await linksByName()
  return [links.get(name)!, links.get(peer)!]
}

/** Ifindexes. By netlink: sysfs shows the namespace that it was mounted in. */
const linksByName = async (): Promise<ReadonlyMap<string, number>> => {
  const netlink = new (loadNative().Netlink)()
  try {
    return new Map((await netlink.links()).map(({ name, ifindex }) => [name, ifindex]))
  } finally {
    netlink.close()
  }
}
