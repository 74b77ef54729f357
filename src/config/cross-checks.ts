/** What no value shows on its own: things that are there twice, and things that do not fit each other. */
import { backendIdentity, type ForwardMode, isTunnelMode, serviceIdentity } from '../model.js'
import { DEFAULT_RING_SIZE } from '../ring/size.js'
import { childPath } from './fields.js'
import { checkForward, modeFrom } from './forward.js'
import type { Position, Report } from './problem.js'
import { backendAddressRule, backendPortRule, backendSourceRule } from './rules.js'
import type { BackendDraft, ServiceDraft } from './service.js'
import { checkTranslation } from './translation.js'

/** With fewer slots per backend the shares differ by more than a percent (Maglev, NSDI 2016, section 3.4). */
const SLOTS_PER_BACKEND = 100

/** Remembers what was seen. @returns the place of the first of the same identity, or null if this is it */
const findTwins = () => {
  const seen = new Map<string, Position>()
  return (identity: string, at: Position): Position | null => {
    const first = seen.get(identity)
    if (first) return first
    seen.set(identity, at)
    return null
  }
}

export const crossCheck = (services: readonly ServiceDraft[], report: Report): void => {
  const twins = findTwins()
  for (const service of services) {
    const { vip, port, protocol = 'tcp' } = service.fields.values
    if (vip !== undefined && port !== undefined) {
      const identity = serviceIdentity({ vip, port, protocol })
      const first = twins(identity, service.at)
      if (first)
        report.problem(
          service.at,
          service.path,
          `${service.name} has the VIP, port and protocol of line ${first.line}: ${identity}`,
        )
    }
    checkForward(service.forward, modeFrom(service.forward), report)
    checkSources(service, report)
    checkTranslation(service, report)
    if (service.fields.values.mss === 'clamp' && protocol === 'udp')
      report.warning(service.fields.at('mss'), childPath(service.path, 'mss'), 'UDP has no MSS to clamp')
    checkBackends(service, report)
    checkHealthPort(service, report)
    checkRingSize(service, report)
  }
}

const checkBackends = (service: ServiceDraft, report: Report): void => {
  const names = findTwins()
  const places = findTwins()
  for (const backend of service.backends) {
    const { path, at, name, fields } = backend
    const { address, port } = fields.values
    const place =
      address === undefined
        ? null
        : backendIdentity({ port: service.fields.values.port ?? 0 }, { address, port: port ?? null })
    const placeTwin = place === null ? null : places(place, at)
    if (placeTwin)
      report.problem(
        fields.at('address'),
        childPath(path, 'address'),
        `${place} is the backend of line ${placeTwin.line} already`,
      )
    const isNamed = fields.values.name !== undefined
    const nameAt = isNamed ? fields.at('name') : at
    const nameTwin = name === null ? null : names(name, nameAt)
    // Without a name of its own, a twin's is the same because its address is.
    if (nameTwin && (isNamed || !placeTwin))
      report.problem(
        nameAt,
        childPath(path, 'name'),
        `the name ${name} is taken by the backend of line ${nameTwin.line}`,
      )
    checkFit(service, backend, report)
  }
}

const checkFit = (
  { fields: service, forward: serviceForward }: ServiceDraft,
  { path, fields, forward, sources }: BackendDraft,
  report: Report,
): void => {
  const { vip, port: servicePort } = service.values
  const { address, port } = fields.values
  const mode = modeFrom(forward, serviceForward)
  if (mode === null) return
  checkForward(forward, mode, report)
  const addressBroken =
    address !== undefined && vip !== undefined ? backendAddressRule(address, vip, mode) : null
  if (addressBroken)
    report.problem(fields.at('address'), childPath(path, 'address'), `address ${addressBroken}`)
  const portBroken =
    port !== undefined && servicePort !== undefined ? backendPortRule(port, servicePort, mode) : null
  if (portBroken)
    report.problem(
      fields.at('port'),
      childPath(path, 'port'),
      `port ${portBroken}`,
      mode === 'gue' && servicePort !== 0
        ? `the tunnel's own port is forward: { mode: gue, port: ${port} }`
        : null,
    )
  for (const { source, at, path: sourcePath } of sources) {
    const broken = !isTunnelMode(mode)
      ? onlyTunnels(mode)
      : address === undefined
        ? null
        : backendSourceRule(source, address)
    if (broken) report.problem(at, sourcePath, `tunnel-source ${broken}`)
  }
}

const onlyTunnels = (mode: ForwardMode): string =>
  `is for tunnels (ipip, gre, gue): ${mode === 'dr' ? 'direct routing leaves the packet as it is' : `${mode} has no outer header`}`

/** Outer sources of a service that no backend of it can have are a mistake; one of a pair may be for later. */
const checkSources = ({ forward, sources, backends }: ServiceDraft, report: Report): void => {
  if (modeFrom(forward) === null || backends.some(backend => modeFrom(backend.forward, forward) === null))
    return
  const own = modeFrom(forward) ?? 'dr'
  const tunnelled = backends.filter(backend => isTunnelMode(modeFrom(backend.forward, forward) ?? 'dr'))
  const isDirect = !isTunnelMode(own) && tunnelled.length === 0
  const addresses = tunnelled.flatMap(({ fields }) => fields.values.address ?? [])
  const isOfUse = addresses.some(address =>
    sources.some(({ source }) => backendSourceRule(source, address) === null),
  )
  if (!isDirect && (isOfUse || addresses.length === 0)) return
  for (const { source, at, path } of sources)
    report.problem(
      at,
      path,
      `tunnel-source ${isDirect ? onlyTunnels(own) : backendSourceRule(source, addresses[0]!)}`,
    )
}

const checkHealthPort = ({ fields, health, path }: ServiceDraft, report: Report): void => {
  if (fields.values.port === 0 && health && health.port === null)
    report.problem(
      fields.at('health'),
      childPath(path, 'health.port'),
      'health of a service on every port needs a port',
    )
}

const checkRingSize = ({ fields, backends, path, name }: ServiceDraft, report: Report): void => {
  const size = fields.values['ring-size'] ?? DEFAULT_RING_SIZE
  const at = fields.at('ring-size')
  const sizePath = childPath(path, 'ring-size')
  if (backends.length > size)
    report.problem(at, sizePath, `ring-size ${size} is less than the ${backends.length} backends of ${name}`)
  else if (backends.length * SLOTS_PER_BACKEND > size)
    report.warning(
      at,
      sizePath,
      `${size} slots for ${backends.length} backends: below ${SLOTS_PER_BACKEND} each the shares are uneven`,
    )
}
