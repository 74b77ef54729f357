/** What the balancer's configuration says of one of its backends. Pure. */
import { canonicalAddress } from '../address.js'
import { parseConfig } from '../config.js'
import { BalancerError } from '../errors.js'
import { type Flags, hostPart } from './flags.js'
import { DEFAULT_GUE_PORT, type Wanted } from './wanted.js'

/**
 * @param text of the configuration
 * @param name a backend's name or address, as any of the services has it
 * @throws ConfigError; BalancerError `ERR_NOT_FOUND`, `ERR_USAGE`
 */
export const wantedFromConfig = (text: string, name: string, flags: Flags): Wanted => {
  const { config } = parseConfig(text)
  const address = canonicalAddress(name)
  const places = config.services.flatMap(service =>
    service.backends
      .filter(backend => backend.name === name || backend.address === address)
      .map(backend => ({ service, backend })),
  )
  if (places.length === 0) {
    const names = new Set(config.services.flatMap(({ backends }) => backends.map(backend => backend.name)))
    throw new BalancerError('ERR_NOT_FOUND', `no service has a backend ${name}`, {
      hint: `there are: ${[...names].join(', ')}`,
    })
  }
  return {
    ...hostPart(flags),
    vips: [...new Set(places.map(({ service }) => service.vip))],
    addresses: [...new Set(places.map(({ backend }) => backend.address))],
    tunnels: [],
    ports: [DEFAULT_GUE_PORT],
  }
}
