/**
 * The segment size that clients are told: a backend's SYN-ACK has that of the route by which it leaves, and the client
 * sends no longer segments than it says. Pure.
 */
import { addressFamily } from '../address.js'
import { type Finding, refused, warning, wrong } from './finding.js'
import type { Host } from './host.js'
import type { HostRoute } from './rtnetlink.js'
import { routeKey } from './setting.js'
import type { Site } from './site.js'
import { announcedMss, type Family, ordinaryMss } from './wanted.js'
import type { RouteWish } from './wishes.js'

/** The least packet that IP lets a link have: RFC 791 3.1, RFC 8200 5. */
const LEAST_MTU: Readonly<Record<Family, number>> = { 4: 576, 6: 1280 }

/** Neighbours on the link alone: no client's. */
const isLinkLocal = ({ destination }: HostRoute): boolean => /^fe[89ab]/.test(destination)

/** What a SYN-ACK by this route says. */
const mssOf = (route: HostRoute, host: Host): number => {
  if (route.advmss !== null) return route.advmss
  const mtus = host.links.filter(({ ifindex }) => route.ifindexes.includes(ifindex)).map(({ mtu }) => mtu)
  return ordinaryMss(route.family, route.mtu ?? Math.max(0, ...mtus))
}

const routeText = (route: HostRoute, host: Host): string => {
  const names = host.links.filter(({ ifindex }) => route.ifindexes.includes(ifindex)).map(({ name }) => name)
  const table = route.table === 254 ? '' : ` table ${route.table}`
  const family = route.destination === 'default' && route.family === 6 ? 'IPv6 ' : ''
  return `${family}${route.destination} dev ${names.join(', ') || '?'}${table}`
}

const ofFamily = (family: Family, site: Site, host: Host): { wishes: RouteWish[]; findings: Finding[] } => {
  const advmss = announcedMss(site.wanted, family, site.mtu, site.addresses)
  if (advmss === null || site.links.length === 0 || site.wanted.tunnels.length === 0)
    return { wishes: [], findings: [] }
  const least = ordinaryMss(family, LEAST_MTU[family])
  if (advmss < least)
    return {
      wishes: [],
      findings: [
        refused(
          'packet-size',
          `clients would be told a segment size of ${advmss}, but IPv${family} demands ${least} at least`,
          'raise the MTU of the interfaces and of the path to the balancer, or say --mtu or --advmss',
        ),
      ],
    }
  const routes = host.routes.filter(
    route =>
      route.family === family &&
      !isLinkLocal(route) &&
      route.ifindexes.some(ifindex => ifindex !== site.loopback.ifindex),
  )
  const seen = new Map<string, number>()
  for (const { key } of routes) seen.set(key, (seen.get(key) ?? 0) + 1)
  const wishes: RouteWish[] = []
  const findings: Finding[] = []
  for (const route of routes) {
    const text = routeText(route, host)
    const present = mssOf(route, host)
    if (route.isPassing || seen.get(route.key)! > 1) {
      if (present > advmss)
        findings.push(
          warning(
            'route-passing',
            `replies by ${text} tell clients a segment size of ${present}, more than ${advmss}`,
            route.isPassing
              ? 'the route comes of router advertisements, redirects or with a time limit: join leaves it; clients learn by the balancer’s packet-too-big'
              : 'there are several such routes, of which the kernel changes only the first: give them an advmss by hand',
          ),
        )
      continue
    }
    wishes.push({
      kind: 'route',
      key: routeKey(route.key),
      text,
      advmss,
      finding:
        present > advmss
          ? wrong(
              'route-mss',
              `replies by ${text} tell clients a segment size of ${present}, but through the tunnels fit ${advmss}`,
              `ip route change ... advmss ${advmss}, or let join do it`,
            )
          : null,
    })
  }
  return { wishes, findings }
}

export const routeWishes = (
  site: Site,
  host: Host,
): { readonly wishes: readonly RouteWish[]; readonly findings: readonly Finding[] } => {
  const families = new Set(site.wanted.vips.map(addressFamily))
  const parts = [...families].map(family => ofFamily(family, site, host))
  return {
    wishes: parts.flatMap(({ wishes }) => wishes),
    findings: parts.flatMap(({ findings }) => findings),
  }
}
