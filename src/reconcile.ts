/** What differs between two configurations, in words. Pure. */
import type { Change } from './control/protocol.js'
import { differing } from './differing.js'
import { identitiesOf } from './identities.js'
import {
  type AdminState,
  type Backend,
  backendIdentity,
  type Config,
  type Forward,
  forwardText,
  listenText,
  type PortRange,
  type Service,
  serviceIdentity,
  type Translation,
} from './model.js'

/** What was ordered of backends, by backendKey; of those that are not named nothing was. */
export type Orders = ReadonlyMap<string, { readonly state: AdminState }>

const isForward = (value: unknown): value is Forward =>
  typeof value === 'object' && value !== null && 'mode' in value

const show = (value: unknown): string =>
  isForward(value)
    ? forwardText(value)
    : value === undefined
      ? "the service's"
      : value === null || (Array.isArray(value) && value.length === 0)
        ? 'none'
        : typeof value === 'object'
          ? JSON.stringify(value)
          : String(value)

/** "weight 1 -> 5, mac none -> 02:..." over the keys that differ. */
const differences = <T extends object>(before: T, after: T, keys: readonly (keyof T & string)[]): string =>
  keys
    .filter(key => JSON.stringify(before[key]) !== JSON.stringify(after[key]))
    .map(key => `${key} ${show(before[key])} -> ${show(after[key])}`)
    .join(', ')

const serviceKeys = [
  'name',
  'vip',
  'port',
  'protocol',
  'forward',
  'tunnelSource',
  'mss',
  'ping',
  'scheduler',
  'ringSize',
  'hash',
  'noBackend',
  'tracking',
  'idleTimeMs',
  'udpIdleTimeMs',
  'leaveDeadlineMs',
  'lastResort',
  'health',
] as const satisfies readonly (keyof Service)[]

const backendKeys = [
  'name',
  'weight',
  'mac',
  'forward',
  'tunnelSource',
] as const satisfies readonly (keyof Backend)[]
const settingKeys = ['xdp', 'seed', 'limits'] as const satisfies readonly (keyof Config)[]

const byKey = <T>(items: readonly T[], key: (item: T) => string): Map<string, T> =>
  new Map(items.map(item => [key(item), item]))

const backendChanges = (before: Service, after: Service): Change[] => {
  const { before: were, after: are } = differing(before.backends, after.backends)
  const present = byKey(were, backend => backendIdentity(before, backend))
  const wanted = byKey(are, backend => backendIdentity(after, backend))
  const named = (backend: Backend): string => `${after.name}/${backend.name}`
  const changes: Change[] = []
  for (const [identity, backend] of present)
    if (!wanted.has(identity))
      changes.push({
        action: 'remove',
        kind: 'backend',
        name: `${before.name}/${backend.name}`,
        detail: identity,
      })
  for (const [identity, backend] of wanted) {
    const was = present.get(identity)
    if (!was) {
      changes.push({
        action: 'add',
        kind: 'backend',
        name: named(backend),
        detail: `${identity}, weight ${backend.weight}`,
      })
      continue
    }
    const detail = differences(was, backend, backendKeys)
    if (detail) changes.push({ action: 'change', kind: 'backend', name: named(backend), detail })
  }
  return changes
}

const portsText = ({ first, last }: PortRange): string => `${first}-${last}`

/** What of a translation differs, as the file calls it. */
const flat = (translation: Translation | undefined): Readonly<Record<string, unknown>> => {
  if (!translation) return {}
  const { localAddresses, localPorts, toa, timeouts } = translation
  return { localAddresses, localPorts: portsText(localPorts), toa, ...timeouts }
}

const translationChanges = (before: Service, after: Service): string[] => {
  // All of it comes or goes with the mode.
  if (!before.translation || !after.translation) return []
  const [were, are] = [flat(before.translation), flat(after.translation)]
  const detail = differences(were, are, Object.keys(are))
  return detail === '' ? [] : [detail]
}

const snatText = ({ snat }: Config) => ({
  prefixes: snat?.prefixes ?? [],
  localAddresses: snat?.localAddresses ?? [],
  localPorts: snat ? portsText(snat.localPorts) : 'none',
})

const serviceChanges = (before: Config, after: Config): Change[] => {
  const present = byKey(before.services, serviceIdentity)
  const wanted = byKey(after.services, serviceIdentity)
  const changes: Change[] = []
  for (const [identity, { name }] of present)
    if (!wanted.has(identity)) changes.push({ action: 'remove', kind: 'service', name, detail: identity })
  for (const [identity, service] of wanted) {
    const was = present.get(identity)
    if (was === service) continue
    if (!was) {
      const detail = `${identity}, ${service.backends.length} backends`
      changes.push({ action: 'add', kind: 'service', name: service.name, detail })
      continue
    }
    const detail = [differences(was, service, serviceKeys), ...translationChanges(was, service)]
      .filter(text => text !== '')
      .join(', ')
    if (detail) changes.push({ action: 'change', kind: 'service', name: service.name, detail })
    changes.push(...backendChanges(was, service))
  }
  return changes
}

const served = ({ http }: Config) => ({ listen: http && listenText(http.listen) })

/** Two services are the same by VIP, port and protocol, two backends by address and port; the order means nothing. */
export const diffConfigs = (before: Config, after: Config): Change[] => {
  const changes: Change[] = []
  for (const name of before.interfaces)
    if (!after.interfaces.includes(name))
      changes.push({ action: 'remove', kind: 'interface', name, detail: 'detach' })
  for (const name of after.interfaces)
    if (!before.interfaces.includes(name))
      changes.push({ action: 'add', kind: 'interface', name, detail: 'attach' })
  for (const key of settingKeys) {
    const detail = differences(before, after, [key])
    if (detail) changes.push({ action: 'change', kind: 'setting', name: key, detail })
  }
  const detail = differences(served(before), served(after), ['listen'])
  if (detail) changes.push({ action: 'change', kind: 'setting', name: 'http', detail })
  const translated = differences(snatText(before), snatText(after), [
    'prefixes',
    'localAddresses',
    'localPorts',
  ])
  if (translated) changes.push({ action: 'change', kind: 'setting', name: 'snat', detail: translated })
  return [...changes, ...serviceChanges(before, after)]
}

/** Backends of a configuration whose admin state differs. */
export const diffOrders = (config: Config, before: Orders, after: Orders): Change[] => {
  if (before.size + after.size === 0) return []
  return config.services.flatMap(service =>
    service.backends.flatMap((backend, i): Change[] => {
      const key = identitiesOf(service).keys[i]!
      const [was, is] = [before.get(key)?.state ?? 'enabled', after.get(key)?.state ?? 'enabled']
      const name = `${service.name}/${backend.name}`
      return was === is ? [] : [{ action: 'change', kind: 'backend', name, detail: `state ${was} -> ${is}` }]
    }),
  )
}
