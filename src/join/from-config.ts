/** What the balancer's configuration says of one of its backends. Pure. */
import { addressFamily, canonicalAddress } from '../address.js'
import { parseConfig } from '../config.js'
import { shimBytes } from '../dataplane/encapsulation.js'
import { BalancerError } from '../errors.js'
import { forwardOf, isTunnel } from '../model.js'
import { type Flags, hostPart } from './flags.js'
import { DEFAULT_GUE_PORT, type Tunnel, type Wanted } from './wanted.js'

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
      .map(backend => ({ vip: service.vip, address: backend.address, forward: forwardOf(service, backend) })),
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
  return {
    ...hostPart(flags),
    vips: unique(places.map(({ vip }) => vip)),
    addresses: unique(places.map(place => place.address)),
    tunnels: unique(tunnels),
    ports: ports.length > 0 ? unique(ports) : [DEFAULT_GUE_PORT],
  }
}
