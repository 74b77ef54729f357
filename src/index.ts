/** What programs import from 'linimo': the client of a running daemon, its types, and the errors. */
export {
  type CallOptions,
  type Client,
  type ConnectOptions,
  connect,
  type FlowListOptions,
} from './control/client.js'
export type {
  BackendRow,
  Change,
  ConfigProblem,
  Count,
  Event,
  FlowCount,
  FlowDrop,
  FlowKind,
  FlowRow,
  FlowState,
  Method,
  Params,
  Results,
  RingView,
  ServiceRow,
  Status,
} from './control/protocol.js'
export { BalancerError, type ErrorCode, errorCodes } from './errors.js'
export { type InstancePaths, instanceName, instancePaths } from './instance.js'
