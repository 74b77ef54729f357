/** Where flows are read from: the data plane's memory, its clocks, and the names that the configuration gives. */
import type { Dataplane } from '../dataplane/dataplane.js'
import { readTracked, type TrackedFlows } from '../dataplane/tracked-flows.js'
import type { Wanted } from '../wanted.js'
import { createOwners, type Owners } from './owners.js'

export interface FlowSources {
  /** Another one after a reload: asked for anew in each turn of the event loop. */
  readonly memory: Dataplane['memory']
  /** A service's identity by its id. */
  readonly serviceOf: (id: number) => string | null
  readonly wanted: () => Wanted
  /** Readings of the connection clock (seconds) and of the flow clock. */
  readonly connectionClock: () => number
  readonly flowClock: () => number
}

export const ownersNow = ({ memory, serviceOf, wanted }: FlowSources): Owners =>
  createOwners({ backends: memory('backends'), serviceOf, wanted: wanted() })

export const trackedNow = ({ memory, flowClock }: FlowSources): TrackedFlows =>
  readTracked(
    {
      flowCache: memory('flow_cache'),
      slots: memory('slots'),
      services: memory('services'),
      backends: memory('backends'),
    },
    flowClock(),
  )
