/** The soak, short, by translation: `npm run soak -- --minutes N --forward fullnat` is a long one. */
import { shortSoak } from '../fixtures/short-soak.js'

shortSoak('nat', 0.35)
shortSoak('fullnat', 0.35)
