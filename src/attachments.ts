/**
 * The XDP program on the configured interfaces: taken over from an earlier process, attached where they are, and again
 * when one comes back by its name.
 */
import type { InterfaceStatus } from './control/protocol.js'
import type { Dataplane } from './dataplane/dataplane.js'
import type { EntryInterface } from './dataplane/tables.js'
import { BalancerError } from './errors.js'
import type { InterfaceAddresses } from './interface-addresses.js'
import type { Log } from './log.js'
import type { Config } from './model.js'
import type { NetlinkLink, XdpMode } from './native.js'

export interface AttachmentsOptions {
  readonly dataplane: Dataplane
  /** The program on an interface, whoever attached it; id 0: none. */
  readonly queryXdp: (ifindex: number) => { readonly programId: number }
  readonly log: Log
  readonly onChange: (status: InterfaceStatus) => void
  /** What a router's ICMP errors come from; absent: nothing. */
  readonly addressesOf?: (ifindex: number) => InterfaceAddresses
}

export interface Attachments {
  /**
   * Attaches where wanted, detaches where not.
   *
   * @throws BalancerError `ERR_NO_INTERFACE`, `ERR_XDP_BUSY`, `ERR_XDP_UNSUPPORTED` with `mustExist`; otherwise what
   * does not work is said in the status
   */
  sync(
    config: Pick<Config, 'interfaces' | 'xdp'>,
    links: readonly NetlinkLink[],
    mustExist: boolean,
  ): Promise<void>
  /**
   * Whether interfaces that are not attached yet could be.
   *
   * @throws BalancerError `ERR_NO_INTERFACE`, `ERR_XDP_BUSY`
   */
  check(wanted: readonly string[], links: readonly NetlinkLink[]): void
  /** The interfaces that exist, for the entry table. */
  entries(): readonly EntryInterface[]
  status(): readonly InterfaceStatus[]
}

interface Attached {
  readonly ifindex: number
  readonly mode: XdpMode
  readonly reason: string | null
}

const busy = (name: string, programId: number): BalancerError =>
  new BalancerError('ERR_XDP_BUSY', `interface ${name} has another XDP program (id ${programId})`, {
    hint: `see \`bpftool prog show id ${programId}\`; where an instance of Linimo left it, its \`linimo detach\` ends it; \`ip link set dev ${name} xdp off\` removes others, unless a link of their owner's holds them`,
  })

/** The interfaces of a configuration that exist, for the entry table. */
export const entriesOf = (
  names: readonly string[],
  links: readonly NetlinkLink[],
  addressesOf?: (ifindex: number) => InterfaceAddresses,
): readonly EntryInterface[] =>
  names.flatMap(name => {
    const link = links.find(one => one.name === name)
    if (!link?.mac) return []
    const { ifindex, mac, mtu } = link
    return [{ ifindex, mac, mtu, ...addressesOf?.(ifindex) }]
  })

const codeOf = (cause: unknown): string => (cause as { code?: string }).code ?? String(cause)

export const createAttachments = ({
  dataplane,
  queryXdp,
  log,
  onChange,
  addressesOf,
}: AttachmentsOptions): Attachments => {
  const attached = new Map<string, Attached>()
  const failed = new Map<string, string>()
  let names: readonly string[] = []
  let byName = new Map<string, NetlinkLink>()
  let xdpBefore: Config['xdp'] | null = null

  /** `auto` is content with generic, but tries native again when it is new. */
  const suits = (mode: XdpMode, xdp: Config['xdp']): boolean =>
    xdp === 'auto' ? mode === 'native' || xdpBefore === 'auto' : xdp === mode

  const statusOf = (name: string): InterfaceStatus => {
    const at = attached.get(name)
    return { name, mode: at?.mode ?? null, reason: at ? at.reason : (failed.get(name) ?? 'not attached yet') }
  }

  const attachAs = async (ifindex: number, mode: XdpMode, reason: string | null): Promise<Attached> => {
    await dataplane.attach(ifindex, mode)
    return { ifindex, mode, reason }
  }

  /** What an earlier process has attached goes on; one in another mode than is wanted makes room for it. */
  const takeOver = async ({ name, ifindex }: NetlinkLink, xdp: Config['xdp']): Promise<Attached | null> => {
    const mode = dataplane.inheritedMode(ifindex)
    if (mode === null) return null
    if (xdp !== 'auto' && xdp !== mode) {
      log.warn({ event: 'interface.mode', interface: name, from: mode, to: xdp }, 'attached anew')
      await dataplane.detach(ifindex)
      return null
    }
    await dataplane.takeOver(ifindex)
    const isFallback = mode === 'generic' && xdp === 'auto'
    return { ifindex, mode, reason: isFallback ? 'generic, which is slower, since an earlier start' : null }
  }

  const attachOne = async (link: NetlinkLink, xdp: Config['xdp']): Promise<Attached> => {
    const { name, ifindex } = link
    const taken = await takeOver(link, xdp)
    if (taken) return taken
    const { programId } = queryXdp(ifindex)
    if (programId !== 0) throw busy(name, programId)
    if (xdp === 'generic') return attachAs(ifindex, 'generic', null)
    try {
      return await attachAs(ifindex, 'native', null)
    } catch (cause) {
      if (codeOf(cause) === 'EBUSY' || codeOf(cause) === 'EEXIST')
        throw busy(name, queryXdp(ifindex).programId)
      if (xdp === 'native')
        throw new BalancerError(
          'ERR_XDP_UNSUPPORTED',
          `interface ${name} takes no native XDP program (${codeOf(cause)})`,
          {
            cause,
            hint: '`xdp: auto` falls back to generic XDP, which is slower',
          },
        )
      const reason = `native XDP is refused (${codeOf(cause)}): generic, which is slower`
      log.warn({ event: 'interface.generic', interface: name, cause: codeOf(cause) }, reason)
      return attachAs(ifindex, 'generic', reason)
    }
  }

  const attach = async (
    name: string,
    link: NetlinkLink,
    xdp: Config['xdp'],
    mustExist: boolean,
  ): Promise<void> => {
    try {
      const at = await attachOne(link, xdp)
      attached.set(name, at)
      failed.delete(name)
      log.info(
        { event: 'interface.attached', interface: name, ifindex: at.ifindex, mode: at.mode },
        'attached',
      )
    } catch (cause) {
      if (mustExist) throw cause
      const reason = cause instanceof Error ? cause.message : String(cause)
      if (failed.get(name) === reason) return
      failed.set(name, reason)
      log.error({ event: 'interface.failed', interface: name, reason }, 'the program cannot be attached')
    }
    onChange(statusOf(name))
  }

  const detach = async (name: string, why: string): Promise<void> => {
    const at = attached.get(name)
    if (!at) return
    attached.delete(name)
    failed.set(name, why)
    await dataplane.detach(at.ifindex).catch((cause: unknown) => {
      log.debug(
        { event: 'interface.detach-failed', interface: name, cause: codeOf(cause) },
        'was gone already',
      )
    })
    log.info({ event: 'interface.detached', interface: name, why }, 'detached')
    onChange(statusOf(name))
  }

  const check = (wanted: readonly string[], links: readonly NetlinkLink[]): void => {
    for (const name of wanted) {
      if (names.includes(name)) continue
      const link = links.find(one => one.name === name)
      if (!link)
        throw new BalancerError('ERR_NO_INTERFACE', `there is no interface ${name}`, {
          hint: `there are: ${links.map(one => one.name).join(', ')}`,
        })
      const { programId } = queryXdp(link.ifindex)
      if (programId !== 0 && dataplane.inheritedMode(link.ifindex) === null) throw busy(name, programId)
    }
  }

  return {
    check,
    sync: async (config, links, mustExist) => {
      byName = new Map(links.map(link => [link.name, link]))
      if (mustExist) check(config.interfaces, links)
      for (const name of [...attached.keys()]) {
        if (!config.interfaces.includes(name)) await detach(name, 'not configured')
        else if (byName.get(name)?.ifindex !== attached.get(name)!.ifindex)
          await detach(name, 'the interface is gone')
        else if (!suits(attached.get(name)!.mode, config.xdp))
          await detach(name, `xdp: ${config.xdp} is wanted`)
      }
      names = config.interfaces
      xdpBefore = config.xdp
      for (const name of names) {
        const link = byName.get(name)
        if (link && !attached.has(name)) await attach(name, link, config.xdp, mustExist)
        else if (!link && !attached.has(name)) failed.set(name, 'there is no such interface')
      }
    },
    entries: () => entriesOf(names, [...byName.values()], addressesOf),
    status: () => names.map(statusOf),
  }
}
