/** The services that packets are sent to, by what is done to a packet: modes, IP versions, ways out. */
import { DEFAULT_GUE_PORT, type Forward } from '../../src/model.js'
import type { ServiceToLoad } from './balancer.js'

const ipip: Forward = { mode: 'ipip' }
const gre: Forward = { mode: 'gre', key: null }
const greKey: Forward = { mode: 'gre', key: 7 }
const gue: Forward = { mode: 'gue', port: DEFAULT_GUE_PORT, variant: 0 }
const bareGue: Forward = { mode: 'gue', port: DEFAULT_GUE_PORT, variant: 1 }

const web = (
  name: string,
  vip: string,
  rest: Omit<ServiceToLoad, 'name' | 'vip' | 'port' | 'protocol'>,
): ServiceToLoad => ({ name, vip, port: 80, protocol: 'tcp', ...rest })

/** By what they do to a packet; of two numbers the first is the inner IP version, the second the outer. */
export const served = {
  tcp4: web('tcp4', '192.0.2.10', { way: 'entry' }),
  udp4: { name: 'udp4', vip: '192.0.2.10', port: 53, protocol: 'udp', way: 'entry' },
  tcp6: web('tcp6', '2001:db8::10', { way: 'entry' }),
  udp6: { name: 'udp6', vip: '2001:db8::10', port: 53, protocol: 'udp', way: 'entry' },
  away4: web('away4', '192.0.2.20', { way: 'other' }),
  away6: web('away6', '2001:db8::20', { way: 'other' }),
  dead4: web('dead4', '192.0.2.30', { way: null }),
  narrow4: web('narrow4', '192.0.2.31', { way: 'entry', mtu: 100 }),
  narrow6: web('narrow6', '2001:db8::31', { way: 'entry', mtu: 100 }),
  ipip44: web('ipip44', '192.0.2.40', { way: 'entry', forward: ipip }),
  ipip46: web('ipip46', '192.0.2.41', { way: 'entry', forward: ipip, outer: 6 }),
  ipip64: web('ipip64', '2001:db8::41', { way: 'entry', forward: ipip, outer: 4 }),
  ipip66: web('ipip66', '2001:db8::40', { way: 'entry', forward: ipip }),
  gre44: web('gre44', '192.0.2.42', { way: 'entry', forward: gre }),
  gre66: web('gre66', '2001:db8::42', { way: 'entry', forward: gre }),
  greKey44: web('greKey44', '192.0.2.43', { way: 'entry', forward: greKey }),
  gue44: web('gue44', '192.0.2.44', { way: 'entry', forward: gue }),
  gue46: web('gue46', '192.0.2.45', { way: 'entry', forward: gue, outer: 6 }),
  gue64: web('gue64', '2001:db8::45', { way: 'entry', forward: gue, outer: 4 }),
  gue66: web('gue66', '2001:db8::44', { way: 'entry', forward: gue }),
  bare44: web('bare44', '192.0.2.46', { way: 'entry', forward: bareGue }),
  bare66: web('bare66', '2001:db8::46', { way: 'entry', forward: bareGue }),
  ipipAway4: web('ipipAway4', '192.0.2.50', { way: 'other', forward: ipip }),
  ipipAway6: web('ipipAway6', '2001:db8::50', { way: 'other', forward: ipip }),
  gueAway4: web('gueAway4', '192.0.2.51', { way: 'other', forward: gue }),
  gueAway6: web('gueAway6', '2001:db8::51', { way: 'other', forward: gue }),
} satisfies Record<string, ServiceToLoad>

export const services: readonly ServiceToLoad[] = Object.values(served)
