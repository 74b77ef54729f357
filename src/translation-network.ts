/** What translated backends need of the network besides next hops, for as long as there are such backends. */
import { allBackends } from './checks.js'
import type { FollowedClientRoutes } from './client-routes-followed.js'
import type { FollowedLocalAddresses } from './local-addresses-followed.js'
import { forwardOf, isTranslated } from './model.js'
import type { Wanted } from './wanted.js'
import type { WantedNeighbours } from './wanted-neighbours.js'

export interface TranslationNetwork {
  /** Resolves when the ways back to clients, and what is known of the local addresses, are what they are to be. */
  follow(wanted: Wanted): Promise<void>
  /** Those of some local addresses that may be used, in their order. */
  readonly usable: (addresses: readonly string[]) => readonly string[]
}

export interface TranslationNetworkOptions {
  readonly clientRoutes: Pick<FollowedClientRoutes, 'use'>
  readonly localAddresses: Pick<FollowedLocalAddresses, 'follow' | 'usable'>
  readonly neighbours: Pick<WantedNeighbours, 'use'>
  /** Called when the first translated backend comes. */
  readonly begin: () => void
}

export const createTranslationNetwork = ({
  clientRoutes,
  localAddresses,
  neighbours,
  begin,
}: TranslationNetworkOptions): TranslationNetwork => {
  let hasBegun = false
  return {
    usable: localAddresses.usable,
    follow: async wanted => {
      const { services, snat, localPrefixes } = wanted.config
      const isUsed =
        snat !== undefined ||
        allBackends(wanted).some(({ service, backend }) => isTranslated(forwardOf(service, backend).mode))
      const own = services.flatMap(({ translation }) => translation?.localAddresses ?? [])
      if (isUsed && !hasBegun) begin()
      hasBegun ||= isUsed
      neighbours.use(isUsed)
      await localAddresses.follow([...new Set([...own, ...(snat?.localAddresses ?? [])])], localPrefixes)
      await clientRoutes.use(isUsed)
    },
  }
}
