/** What a daemon that pins nothing keeps beyond its end: nothing. Packets stop with it, and so does what they went by. */
import type { Journal } from './journal.js'
import type { HealthFile } from './state.js'
import { wantedBy } from './wanted.js'

export const unkeptJournal: Journal = {
  replay: ({ config }) => ({ wanted: wantedBy(config), warnings: [] }),
  save: async () => null,
  status: () => ({ path: '', entries: 0, error: null }),
}

export const unkeptHealth: HealthFile = {
  restored: new Map(),
  changed: () => {},
  close: async () => {},
}
