/** The soak, short, by direct routing and by tunnels: `npm run soak -- --minutes N --forward ipip` is a long one. */
import { shortSoak } from '../fixtures/short-soak.js'

shortSoak('dr', 0.35)
shortSoak('mixed', 0.35) // IPIP to some backends, GUE to others
