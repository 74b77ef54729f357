/** The states of flows, by name. */

/** Of connections, in the order of enum connection_state. */
export const connectionStates = [
  'syn-sent',
  'syn-received',
  'established',
  'fin-wait',
  'close-wait',
  'last-ack',
  'time-wait',
  'close',
  'udp',
  'udp-once',
] as const

/** Of tracked flows, by enum flow_class less one: what the flow cache knows. */
export const trackedStates = ['half-open', 'open', 'closed'] as const

export const flowStates = [...connectionStates, ...trackedStates] as const
export type FlowState = (typeof flowStates)[number]
