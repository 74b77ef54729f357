/**
 * The client of a running Linimo.
 *
 *   import { connect } from 'linimo'
 *   const client = await connect()
 *   await client.backend.set('web', 'b2', { weight: 5 })
 *   await client.close()
 */
import { instanceName, instancePaths } from '../instance.js'
import { createChannel, openSocket } from './channel.js'
import { type FlowListOptions, listFlows } from './flow-pages.js'
import type { Event, FlowRow, Method, Params, Results } from './protocol.js'

export type { FlowListOptions } from './flow-pages.js'

const DEFAULT_TIMEOUT_MS = 30_000

export interface ConnectOptions {
  /** Default: that of the instance. */
  readonly socketPath?: string | undefined
  /** Default: the environment's LINIMO_INSTANCE, else `main`. */
  readonly instance?: string | undefined
  /** How long to wait for the connection, and for each answer. Default 30000. */
  readonly timeoutMs?: number | undefined
}

export interface CallOptions {
  /** How long to wait for this answer; default: the connection's. */
  readonly timeoutMs?: number | undefined
}

/** A connection to a daemon. Requests may overlap; each is answered for itself. Every failure is a BalancerError. */
export interface Client {
  /**
   * Sends one request.
   *
   * @param method one of the protocol's, such as 'backend.set'
   * @param params as the method takes them; not needed where they all are optional
   * @throws BalancerError with the daemon's own code; `ERR_TIMEOUT`; `ERR_CONNECTION_LOST`
   */
  call<M extends Method>(method: M, params?: Params<M>, options?: CallOptions): Promise<Results[M]>
  /** The whole state: interfaces, verdicts, services with their backends. */
  status(options?: CallOptions): Promise<Results['status']>
  readonly service: {
    list(): Promise<Results['service.list']>
    /** @throws BalancerError `ERR_NOT_FOUND` */
    show(service: string): Promise<Results['service.show']>
  }
  readonly backend: {
    /** Of one service, or of all. */
    list(service?: string): Promise<Results['backend.list']>
    /** @throws BalancerError `ERR_NOT_FOUND` */
    show(service: string, backend: string): Promise<Results['backend.show']>
    /**
     * Puts a backend into a service; answered when it is in the ring.
     *
     * @param options address: IPv4 or IPv6; port: the service's by default; weight: 0..1000, 1 by default;
     *                mac: a static next hop
     * @throws BalancerError `ERR_CONFLICT` when its name or address is taken, `ERR_NOT_FOUND`, `ERR_LIMIT`
     */
    add(
      service: string,
      backend: string,
      options: Omit<Params<'backend.add'>, 'service' | 'backend'>,
    ): Promise<Results['backend.add']>
    /**
     * Changes what is given; answered when it is in the ring.
     *
     * @param change weight: 0..1000, 0 takes no flows; mac: a static next hop, null resolves it again
     * @throws BalancerError `ERR_NOT_FOUND`
     */
    set(
      service: string,
      backend: string,
      change: Omit<Params<'backend.set'>, 'service' | 'backend'>,
    ): Promise<Results['backend.set']>
    /**
     * Takes a backend out of a service: its flows stay until they end, or the service's leave deadline has come.
     *
     * @param options now: they are cut at once
     * @throws BalancerError `ERR_NOT_FOUND`
     */
    remove(
      service: string,
      backend: string,
      options?: Omit<Params<'backend.remove'>, 'service' | 'backend'>,
    ): Promise<Results['backend.remove']>
    /**
     * Gives it no new flow; it is out when its flows have gone.
     *
     * @param options deadline: seconds after which it is out in any case
     * @throws BalancerError `ERR_NOT_FOUND`; `ERR_CONFLICT` for one that is leaving
     */
    drain(
      service: string,
      backend: string,
      options?: Omit<Params<'backend.drain'>, 'service' | 'backend'>,
    ): Promise<Results['backend.drain']>
    /** Ends a drain: it takes new flows again. @throws BalancerError `ERR_NOT_FOUND`; `ERR_CONFLICT` for one that is disabled */
    undrain(service: string, backend: string): Promise<Results['backend.undrain']>
    /** Takes it out at once, with its flows. @throws BalancerError `ERR_NOT_FOUND` */
    disable(service: string, backend: string): Promise<Results['backend.disable']>
    /** Takes back whatever was ordered: it takes new flows. @throws BalancerError `ERR_NOT_FOUND` */
    enable(service: string, backend: string): Promise<Results['backend.enable']>
  }
  readonly ring: {
    /** @param options slots: with the owner of each; down: backends supposed to be down */
    show(service: string, options?: Omit<Params<'ring.show'>, 'service'>): Promise<Results['ring.show']>
  }
  readonly flow: {
    /**
     * The flows that have state, asked for page by page as they are read: FULLNAT's, SNAT's and NAT's connections, then
     * the tracked flows.
     *
     * @param options service, backend, state: names; client: "192.0.2.0/24", "192.0.2.1:4321", which no tracked flow
     *                matches; limit: no more than these
     * @throws BalancerError `ERR_NOT_FOUND`, `ERR_BAD_REQUEST`
     */
    list(options?: FlowListOptions): AsyncGenerator<FlowRow, void, undefined>
    /** How many there are, by kind, by state, by service and backend. Parameters and errors as for `list`. */
    count(filter?: Params<'flow.count'>): Promise<Results['flow.count']>
    /**
     * Drops connections. TCP: each end gets a reset with its next packet; UDP: forgotten at once.
     *
     * @param which a filter as for `list`, or one connection's id, or all: true
     * @throws BalancerError `ERR_BAD_REQUEST` when nothing is named; `ERR_NOT_FOUND`; `ERR_CONFLICT` when only tracked
     *         flows are meant, which cannot be dropped
     */
    drop(which: Params<'flow.drop'>): Promise<Results['flow.drop']>
  }
  /**
   * Checks a configuration without using it.
   *
   * @param config the text of the file; absent: the daemon reads its own file again
   * @throws BalancerError `ERR_CONFIG_INVALID` with `problems`
   */
  check(config?: string): Promise<Results['check']>
  /** What `apply` would change. Parameters and errors as for `check`. */
  diff(config?: string): Promise<Results['diff']>
  /**
   * Makes a configuration the running one, whatever was changed over the socket; returns what that changed. Parameters
   * and errors as for `check`.
   *
   * @param options force: also where that breaks connections which cannot be kept
   * @throws BalancerError `ERR_CONFLICT` when it does, without `force`
   */
  apply(config?: string, options?: { readonly force?: boolean }): Promise<Results['apply']>
  /**
   * Calls back with every event from now on, until the function returned is called.
   * A client that does not keep up is disconnected.
   */
  subscribe(onEvent: (event: Event) => void): Promise<() => void>
  /** Settles when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>
  /** Ends the connection; calls still waiting fail with `ERR_CONNECTION_LOST`. */
  close(): Promise<void>
}

/**
 * Connects to a daemon.
 *
 * @throws BalancerError `ERR_NOT_REACHABLE` when none answers, `ERR_NOT_PERMITTED`, `ERR_TIMEOUT`,
 *         `ERR_USAGE` for an instance's name that cannot be one
 */
export const connect = async (options: ConnectOptions = {}): Promise<Client> => {
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options
  const socketPath =
    options.socketPath ?? instancePaths(instanceName(options.instance, process.env)).socketPath
  const channel = createChannel(await openSocket(socketPath, timeoutMs))

  const call: Client['call'] = (method, params, options) =>
    channel.call(method, params, options?.timeoutMs ?? timeoutMs)

  let subscribed: Promise<unknown> | null = null
  const text = (config?: string) => (config === undefined ? {} : { config })
  return {
    call,
    status: options => call('status', {}, options),
    service: {
      list: () => call('service.list'),
      show: service => call('service.show', { service }),
    },
    backend: {
      list: service => call('backend.list', service === undefined ? {} : { service }),
      show: (service, backend) => call('backend.show', { service, backend }),
      add: (service, backend, options) => call('backend.add', { service, backend, ...options }),
      set: (service, backend, change) => call('backend.set', { service, backend, ...change }),
      remove: (service, backend, options) => call('backend.remove', { service, backend, ...options }),
      drain: (service, backend, options) => call('backend.drain', { service, backend, ...options }),
      undrain: (service, backend) => call('backend.undrain', { service, backend }),
      disable: (service, backend) => call('backend.disable', { service, backend }),
      enable: (service, backend) => call('backend.enable', { service, backend }),
    },
    ring: { show: (service, options) => call('ring.show', { service, ...options }) },
    flow: {
      list: options => listFlows(page => call('flow.list', page), options),
      count: filter => call('flow.count', filter),
      drop: which => call('flow.drop', which),
    },
    check: config => call('check', text(config)),
    diff: config => call('diff', text(config)),
    apply: (config, options) => call('apply', { ...text(config), ...options }),
    async subscribe(onEvent) {
      channel.listeners.add(onEvent)
      subscribed ??= call('subscribe')
      try {
        await subscribed
      } catch (error) {
        subscribed = null
        channel.listeners.delete(onEvent)
        throw error
      }
      return () => {
        channel.listeners.delete(onEvent)
      }
    },
    closed: channel.closed,
    close: channel.close,
  }
}
