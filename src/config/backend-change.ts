/** A backend that is added or changed at run time, checked by the rules of the file. */
import { addressFamily, canonicalMac } from '../address.js'
import { BalancerError } from '../errors.js'
import {
  type Backend,
  backendIdentity,
  type Forward,
  type ForwardMode,
  isTunnelMode,
  type Service,
} from '../model.js'
import {
  backendAddressRule,
  backendNameRule,
  backendPortRule,
  backendSourceRule,
  defaultBackendName,
  hostMacRule,
  parseHostAddress,
  parseTunnelSource,
} from './rules.js'

export interface NewBackend {
  /** Absent: its address, with `:port` where it has one. */
  readonly name?: string | undefined
  readonly address: string
  readonly port?: number | null | undefined
  readonly weight?: number | undefined
  readonly mac?: string | null | undefined
  /** Absent: the service's. */
  readonly forward?: Forward | undefined
  readonly tunnelSource?: string | undefined
}

export interface BackendChange {
  readonly weight?: number | undefined
  /** null: no static next hop. */
  readonly mac?: string | null | undefined
}

const refuse = (message: string): never => {
  throw new BalancerError('ERR_BAD_REQUEST', message)
}

const conflict = (message: string): never => {
  throw new BalancerError('ERR_CONFLICT', message)
}

const checkWhole = (what: string, value: number, min: number, max: number): number =>
  Number.isInteger(value) && value >= min && value <= max
    ? value
    : refuse(`${what} must be a whole number from ${min} to ${max}, not ${value}`)

const checkMac = (text: string | null): string | null => {
  if (text === null) return null
  const mac =
    canonicalMac(text) ?? refuse(`mac must be six hex octets such as "02:00:00:00:00:0c", not "${text}"`)
  const broken = hostMacRule(mac)
  return broken === null ? mac : refuse(`mac ${broken}`)
}

const checkSource = (text: string, address: string, mode: ForwardMode): string => {
  const parsed = parseTunnelSource(text)
  const source = 'source' in parsed ? parsed.source : refuse(`tunnel-source ${parsed.broken}`)
  const broken = isTunnelMode(mode) ? backendSourceRule(source, address) : 'is for tunnels'
  return broken === null ? source : refuse(`tunnel-source ${broken}`)
}

const checkLocalAddresses = ({ name, translation }: Service, address: string): void => {
  const family = addressFamily(address)
  if (!translation?.localAddresses.some(local => addressFamily(local) === family))
    refuse(`fullnat to ${address} takes local addresses of IPv${family}: service "${name}" has none`)
}

/**
 * @returns the backend as the service would have it from the file
 * @throws BalancerError `ERR_BAD_REQUEST` when it breaks a rule, `ERR_CONFLICT` when its name, or its address and
 *         port, are taken
 */
export const newBackend = (service: Service, wanted: NewBackend): Backend => {
  const parsed = parseHostAddress(wanted.address)
  const address = 'address' in parsed ? parsed.address : refuse(`address ${parsed.broken}`)
  const port = wanted.port == null ? null : checkWhole('port', wanted.port, 1, 65535)
  const name = wanted.name ?? defaultBackendName(address, port)
  const nameBroken = backendNameRule(name)
  if (nameBroken) refuse(`the name ${JSON.stringify(name)} ${nameBroken}`)
  const { forward, tunnelSource } = wanted
  const { mode } = forward ?? service.forward
  const addressBroken = backendAddressRule(address, service.vip, mode)
  if (addressBroken) refuse(`address ${addressBroken}`)
  const portBroken = port === null ? null : backendPortRule(port, service.port, mode)
  if (portBroken) refuse(`port ${portBroken}`)
  if (service.translation?.localAddresses.includes(address)) refuse(`address ${address} is a local address`)
  if (mode === 'fullnat') checkLocalAddresses(service, address)

  const backend = {
    name,
    address,
    port,
    weight: checkWhole('weight', wanted.weight ?? 1, 0, 1000),
    mac: checkMac(wanted.mac ?? null),
    ...(forward ? { forward } : {}),
    ...(tunnelSource === undefined ? {} : { tunnelSource: checkSource(tunnelSource, address, mode) }),
  }
  const identity = backendIdentity(service, backend)
  const twin = service.backends.find(other => backendIdentity(service, other) === identity)
  if (service.backends.some(other => other.name === name))
    conflict(`service "${service.name}" has a backend "${name}" already`)
  if (twin) conflict(`${identity} is backend "${twin.name}" of service "${service.name}" already`)
  if (service.backends.length >= service.ringSize)
    conflict(`service "${service.name}" has as many backends as its ring has slots: ${service.ringSize}`)
  return backend
}

/** @throws BalancerError `ERR_BAD_REQUEST` when the change breaks a rule */
export const changedBackend = (backend: Backend, { weight, mac }: BackendChange): Backend => ({
  ...backend,
  weight: weight === undefined ? backend.weight : checkWhole('weight', weight, 0, 1000),
  mac: mac === undefined ? backend.mac : checkMac(mac),
})
