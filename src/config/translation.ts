/** What NAT and FULLNAT take besides addresses: `timeouts`, `toa`, `local-ports`. */
import {
  type ConnectionTimeouts,
  DEFAULT_TIMEOUTS,
  isTranslated,
  type PortRange,
  type Translation,
} from '../model.js'
import { childPath, expectMap, readFields } from './fields.js'
import { modeFrom } from './forward.js'
import type { Position, Report } from './problem.js'
import { timeoutsShape } from './schema.js'
import type { ServiceDraft } from './service.js'
import type { Node } from './source.js'

export const DEFAULT_LOCAL_PORTS: PortRange = { first: 1024, last: 65535 }

const keys: Readonly<Record<keyof typeof timeoutsShape, keyof ConnectionTimeouts>> = {
  'syn-sent': 'synSentMs',
  'syn-received': 'synReceivedMs',
  'fin-wait': 'finWaitMs',
  'close-wait': 'closeWaitMs',
  'last-ack': 'lastAckMs',
  'time-wait': 'timeWaitMs',
  close: 'closeMs',
  'udp-once': 'udpOnceMs',
}

/** What of them is said. */
export const readTimeouts = (
  node: Node,
  at: Position,
  path: string,
  report: Report,
): Partial<ConnectionTimeouts> => {
  const map = expectMap(node, 'timeouts', path, report)
  if (!map) return {}
  for (const [key, instead] of [
    ['established', 'idle-time'],
    ['udp', 'udp-idle-time'],
  ] as const) {
    const entry = map.entries.get(key)
    if (entry) report.problem(entry.at, childPath(path, key), `${key} is the service's ${instead}`)
  }
  const entries = new Map([...map.entries].filter(([key]) => key !== 'established' && key !== 'udp'))
  const { values } = readFields(timeoutsShape, { ...map, entries }, at, path, report)
  return Object.fromEntries(
    Object.entries(values).map(([key, ms]) => [keys[key as keyof typeof keys], ms]),
  ) as Partial<ConnectionTimeouts>
}

/** The modes that a service's backends have, and its own. */
const modesOf = ({ forward, backends }: ServiceDraft) => [
  modeFrom(forward),
  ...backends.map(backend => modeFrom(backend.forward, forward)),
]

/** Says what a service has no use for. */
export const checkTranslation = (service: ServiceDraft, report: Report): void => {
  const { fields, path, forward } = service
  const modes = modesOf(service)
  if (modes.includes(null)) return
  const { protocol = 'tcp', toa, timeouts } = fields.values
  if (toa !== undefined && (!modes.includes('fullnat') || protocol !== 'tcp')) {
    const instead = modes.includes('fullnat') ? protocol : modeFrom(forward)
    report.problem(
      fields.at('toa'),
      childPath(path, 'toa'),
      `toa is for forward: fullnat and protocol: tcp, not ${instead}`,
    )
  }
  if (timeouts !== undefined && !modes.some(mode => mode !== null && isTranslated(mode)))
    report.problem(
      fields.at('timeouts'),
      childPath(path, 'timeouts'),
      `timeouts are for forward: nat and fullnat, not ${modeFrom(forward)}: idle-time and udp-idle-time are for all`,
    )
}

/** What holds where a service says nothing of its own. */
export interface TranslationDefaults {
  readonly localAddresses: readonly string[]
  readonly localPorts: PortRange
}

/** @returns undefined when no backend is translated to */
export const translationFrom = (
  service: ServiceDraft,
  { localAddresses, localPorts }: TranslationDefaults,
): Translation | undefined => {
  const modes = modesOf(service)
  if (!modes.some(mode => mode !== null && isTranslated(mode))) return undefined
  const own = service.localAddresses?.flatMap(({ addresses }) => addresses)
  const isFullnat = modes.includes('fullnat')
  return {
    localAddresses: isFullnat ? (own ?? localAddresses) : [],
    localPorts,
    toa: service.fields.values.toa ?? true,
    timeouts: { ...DEFAULT_TIMEOUTS, ...service.timeouts },
  }
}
