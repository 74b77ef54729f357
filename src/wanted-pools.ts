/** The pools of local addresses that a configuration asks for. Pure. */
import type { WantedPools } from './dataplane/tables.js'
import { type Config, DEFAULT_NAT_FLOWS, forwardOf, type PortRange } from './model.js'

/** @param usable those of some local addresses that may be used, in their order */
export const wantedPools = (
  { services, snat, limits }: Pick<Config, 'services' | 'snat' | 'limits'>,
  usable: (addresses: readonly string[]) => readonly string[] = addresses => addresses,
): WantedPools => {
  const lists = new Map<string, { readonly addresses: readonly string[]; readonly ports: PortRange }>()
  const users = [...(snat ? [snat] : []), ...services.flatMap(({ translation }) => translation ?? [])]
  for (const { localAddresses, localPorts } of users) {
    const addresses = usable(localAddresses)
    // Services that say nothing of their own share the one of the top level.
    if (addresses.length > 0) lists.set(addresses.join(), { addresses, ports: localPorts })
  }
  return {
    pools: [...lists.values()],
    snat: snat && usable(snat.localAddresses).length > 0 ? snat : null,
    natFlows: limits.natFlows ?? DEFAULT_NAT_FLOWS,
  }
}

/** How many NAT backends there are. */
export const natBackends = ({ services }: Pick<Config, 'services'>): number =>
  services
    .flatMap(service => service.backends.map(backend => forwardOf(service, backend).mode))
    .filter(mode => mode === 'nat').length
