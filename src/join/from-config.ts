/** What the balancer's configuration says of one of its backends. Pure. */
import { addressFamily, canonicalAddress } from '../address.js'
import { parseConfig } from '../config.js'
import { shimBytes } from '../dataplane/encapsulation.js'
import { BalancerError } from '../errors.js'
import { forwardOf, isTranslated, isTunnel, type Service } from '../model.js'
import { type Flags, hostPart, toaWanted } from './flags.js'
import { DEFAULT_GUE_PORT, type Prefix, type Tunnel, type Wanted } from './wanted.js'

const unique = <T>(items: readonly T[]): T[] => [
  ...new Map(items.map(item => [JSON.stringify(item), item])).values(),
]

/** What the configuration says itself. */
const said: Readonly<Partial<Record<keyof Flags, string>>> = {
  vip: '--vip',
  address: '--address',
  forward: '--forward',
  port: '--port',
}

/** @throws BalancerError `ERR_USAGE` */
export const refuseSaid = (flags: Flags): void => {
  for (const [flag, word] of Object.entries(said))
    if (flags[flag as keyof Flags] !== undefined)
      throw new BalancerError('ERR_USAGE', `${word} is what --from says`, { hint: 'give one of both' })
}

/** Where a service's connections to FULLNAT backends come from; none: it does not tell them their clients. */
const toaSourcesOf = ({ translation }: Service): readonly Prefix[] =>
  translation?.toa
    ? translation.localAddresses.map(address => ({ address, bits: addressFamily(address) === 4 ? 32 : 128 }))
    : []

/**
 * @param text of the configuration
 * @param name a backend's name or address, as any of the services has it
 * @throws ConfigError; BalancerError `ERR_NOT_FOUND`, `ERR_USAGE`
 */
export const wantedFromConfig = (text: string, name: string, flags: Flags): Wanted => {
  refuseSaid(flags)
  const { config } = parseConfig(text)
  const address = canonicalAddress(name)
  const places = config.services.flatMap(service =>
    service.backends
      .filter(backend => backend.name === name || backend.address === address)
      .map(backend => ({
        service,
        vip: service.vip,
        address: backend.address,
        forward: forwardOf(service, backend),
      })),
  )
  if (places.length === 0) {
    const names = unique(config.services.flatMap(({ backends }) => backends.map(backend => backend.name)))
    throw new BalancerError('ERR_NOT_FOUND', `no service has a backend ${name}`, {
      hint: names.length > 0 ? `there are: ${names.join(', ')}` : 'there is none',
    })
  }
  const tunnels = places.flatMap(({ vip, address: outer, forward }): Tunnel[] =>
    isTunnel(forward)
      ? [
          {
            mode: forward.mode,
            between: shimBytes(forward),
            outer: addressFamily(outer),
            inner: addressFamily(vip),
          },
        ]
      : [],
  )
  const ports = places.flatMap(({ forward }) => (forward.mode === 'gue' ? [forward.port] : []))
  // Translated packets come to the backend's own address: no VIP is needed for them.
  const vipPlaces = places.filter(({ forward }) => !isTranslated(forward.mode))
  const told = places.flatMap(({ service, forward }) =>
    forward.mode === 'fullnat' && service.protocol === 'tcp' ? toaSourcesOf(service) : [],
  )
  return {
    ...hostPart(flags),
    vips: unique(vipPlaces.map(({ vip }) => vip)),
    addresses: unique((vipPlaces.length > 0 ? vipPlaces : places).map(place => place.address)),
    tunnels: unique(tunnels),
    ports: ports.length > 0 ? unique(ports) : [DEFAULT_GUE_PORT],
    toa: toaWanted(flags, told.length > 0 ? unique(told) : null),
  }
}
