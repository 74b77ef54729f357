/**
 * The journal: what was changed over the socket, relative to the configuration file, kept through restarts. One small
 * file in the state directory, written anew as a whole: it holds the difference, not its history (that is audit.log's).
 *
 * A change that the journal cannot take (a full disk) is made all the same, with a warning: draining a backend must not
 * depend on the disk. Until a later write succeeds, `status` says that a restart would lose it.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { z } from 'zod'
import type { Order } from './admin.js'
import { parseConfig } from './config.js'
import { driftOf, withDrift } from './drift.js'
import { identitiesOf, keyOf } from './identities.js'
import { readChecked, setAside } from './journal-file.js'
import { journalWriter } from './journal-writer.js'
import type { Log } from './log.js'
import { backendIdentity, type Config, serviceIdentity } from './model.js'
import { createPasses, noFailures } from './passes.js'
import type { AppliedText, Leaving, Wanted } from './wanted.js'

const FORMAT = { name: 'linimo-journal 1' }
const MODE = 0o600
/** A disk that hangs holds up no answer for longer. */
const PATIENCE_MS = 2000
/** Nor the end of the daemon. */
const END_PATIENCE_MS = 10_000

const weight = z.int().min(0).max(1000)
const backendSchema = z.strictObject({
  name: z.string(),
  address: z.string(),
  port: z.int().nullable(),
  weight,
  ringWeight: z.int().min(1).max(1000).exactOptional(),
  mac: z.string().nullable(),
  forward: z
    .discriminatedUnion('mode', [
      z.strictObject({ mode: z.enum(['dr', 'nat', 'fullnat']) }),
      z.strictObject({ mode: z.literal('ipip') }),
      z.strictObject({ mode: z.literal('gre'), key: z.int().min(0).max(0xffff_ffff).nullable() }),
      z.strictObject({
        mode: z.literal('gue'),
        port: z.int().min(1).max(65535),
        variant: z.union([z.literal(0), z.literal(1)]),
      }),
    ])
    .exactOptional(),
  tunnelSource: z.string().exactOptional(),
})
const named = { service: z.string(), identity: z.string(), name: z.string() }
/** Epoch milliseconds: the monotonic clock does not outlive the process. */
const time = z.number()
const contentSchema = z.strictObject({
  applied: z.strictObject({ text: z.string(), fileDigest: z.string() }).nullable(),
  changes: z.array(
    z.discriminatedUnion('kind', [
      z.strictObject({ ...named, kind: z.literal('add'), backend: backendSchema }),
      z.strictObject({
        ...named,
        kind: z.literal('set'),
        change: z.strictObject({
          weight: weight.exactOptional(),
          ringWeight: z.int().min(1).max(1000).exactOptional(),
          mac: z.string().nullable().exactOptional(),
        }),
      }),
      z.strictObject({ ...named, kind: z.literal('remove') }),
    ]),
  ),
  orders: z.array(
    z.strictObject({
      ...named,
      state: z.enum(['draining', 'disabled']),
      since: time,
      deadlineMs: z.number().min(0).nullable(),
    }),
  ),
  leaving: z.array(z.strictObject({ service: z.string(), since: time, backend: backendSchema })),
})
type Content = z.output<typeof contentSchema>

export interface Clocks {
  /** Milliseconds, monotonic: the one that tables and balancer go by. */
  readonly now: () => number
  /** Epoch milliseconds. */
  readonly wall: () => number
}

export interface JournalStatus {
  readonly path: string
  /** Differences held: changed backends, orders. */
  readonly entries: number
  /** Why a restart would lose the last change; null: it would not. */
  readonly error: string | null
}

export interface Journal {
  /**
   * What was found, put onto the configuration of the file.
   *
   * @returns what is wanted, and a warning for each entry that no longer applies, or for a damaged journal
   */
  replay(file: { readonly text: string; readonly config: Config }): {
    readonly wanted: Wanted
    readonly warnings: readonly string[]
  }
  /** Keeps what differs from the file. Resolves when it is on the disk, or with why it is not. */
  save(wanted: Wanted): Promise<string | null>
  status(): JournalStatus
  /** Whoever comes next may read it: all is on the disk, or never comes there. */
  end(patienceMs?: number): Promise<void>
}

/** Of a configuration file: an applied text counts until the file is edited. */
export const textDigest = (text: string): string => createHash('sha256').update(text).digest('hex')

const namesOf = ({ services }: Config): Map<string, { service: string; identity: string; name: string }> =>
  new Map(
    services.flatMap(one => {
      const { service, backends, keys } = identitiesOf(one)
      return one.backends.map((backend, i) => {
        const name = `${one.name}/${backend.name}`
        return [keys[i]!, { service, identity: backends[i]!, name }] as const
      })
    }),
  )

/** When each was asked for, by the wall clock: said once, and the same in every file. */
const since = new WeakMap<Order | Leaving, number>()

const sinceOf = (one: Order | Leaving, { now, wall }: Clocks): number => {
  const at = since.get(one) ?? Math.round(wall() - now() + one.sinceMs)
  since.set(one, at)
  return at
}

const contentOf = ({ base, config, applied, orders, leaving }: Wanted, clocks: Clocks): Content => {
  const names = orders.size > 0 ? namesOf(config) : new Map<string, never>()
  return {
    applied,
    changes: driftOf(base, config),
    orders: [...orders].flatMap(([key, order]) => {
      const name = names.get(key)
      if (!name || order.state === 'leaving') return []
      const deadlineMs = order.state === 'draining' ? order.deadlineMs : null
      return [{ ...name, state: order.state, since: sinceOf(order, clocks), deadlineMs }]
    }),
    leaving: [...leaving.values()].map(one => ({
      service: one.service,
      since: sinceOf(one, clocks),
      backend: one.backend,
    })),
  }
}

/** What orders and leaving backends are still about, in a configuration. */
const restore = (content: Content, config: Config, { now, wall }: Clocks, warnings: string[]) => {
  const keys = new Set(namesOf(config).keys())
  const services = new Set(config.services.map(serviceIdentity))
  const sinceMs = (since: number): number => now() - Math.max(0, wall() - since)
  const orders = new Map<string, Order>()
  for (const { service, identity, name, state, since, deadlineMs } of content.orders) {
    const key = keyOf(service, identity)
    if (!keys.has(key))
      warnings.push(`${name} is not ${state} any more: the configuration has no backend ${identity} there`)
    else if (state === 'draining') orders.set(key, { state, sinceMs: sinceMs(since), deadlineMs })
    else orders.set(key, { state, sinceMs: sinceMs(since) })
  }
  const leaving = new Map<string, Leaving>()
  for (const { service, since, backend } of content.leaving) {
    const identity = backendIdentity({ port: servicePort(service) }, backend)
    const key = keyOf(service, identity)
    if (services.has(service) && !keys.has(key))
      leaving.set(key, { service, backend, sinceMs: sinceMs(since) })
  }
  return { orders, leaving }
}

/** The port of a service's identity, "192.0.2.10:80/tcp". */
const servicePort = (identity: string): number => Number(/:(\d+)\/\w+$/.exec(identity)?.[1] ?? 0)

const NOTHING: Content = { applied: null, changes: [], orders: [], leaving: [] }

const readContent = (path: string): { readonly content: Content; readonly warnings: string[] } => {
  const { body, warning } = readChecked(path, FORMAT)
  if (body === null) return { content: NOTHING, warnings: warning === null ? [] : [warning] }
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    value = null
  }
  const checked = contentSchema.safeParse(value)
  if (checked.success) return { content: checked.data, warnings: [] }
  return { content: NOTHING, warnings: [`${path} is not understood, and not used: ${setAside(path)}`] }
}

/** The applied text, as long as the file is the one of then; else why it does not count. */
const appliedBase = (
  applied: AppliedText | null,
  file: { readonly text: string; readonly config: Config },
  warnings: string[],
): { readonly base: Config; readonly applied: AppliedText | null } => {
  if (applied === null) return { base: file.config, applied: null }
  if (applied.fileDigest !== textDigest(file.text))
    warnings.push('the configuration applied over the socket is dropped: the file was edited after it')
  else
    try {
      return { base: parseConfig(applied.text).config, applied }
    } catch (error) {
      warnings.push(`the configuration applied over the socket is dropped: ${(error as Error).message}`)
    }
  return { base: file.config, applied: null }
}

/** Reads the journal of an instance. Nothing about it is fatal: the worst is a warning, and the file alone counts. */
export const openJournal = (stateDir: string, clocks: Clocks, log: Log): Journal => {
  const path = join(stateDir, 'journal')
  const found = readContent(path)
  let written = JSON.stringify(found.content)
  let entries = found.content.changes.length + found.content.orders.length
  let error: string | null = null
  let latest: Wanted | null = null
  let isEnded = false
  journalWriter.start()

  const write = async (): Promise<void> => {
    if (!latest || isEnded) return
    const content = contentOf(latest, clocks)
    entries = content.changes.length + content.orders.length
    const body = JSON.stringify(content)
    if (body === written && error === null) return
    const failure = (await journalWriter.write({ path, format: FORMAT, body, mode: MODE })).error
    if (failure === null) {
      if (error !== null) log.info({ event: 'journal.written', path }, 'the journal is written again')
      written = body
      error = null
    } else {
      const why = `${path} cannot be written (${failure})`
      if (error === null)
        log.warn(
          { event: 'journal.failed', path, error: why },
          'a restart would lose changes made at run time',
        )
      error = why
    }
  }
  /** Changes that come while a write is under way are taken up by the next one, together. */
  const changed = createPasses(async () => {
    await write()
    return noFailures
  })
  /** @returns whether all that was wanted until now has been written, or could not be, within that time */
  const isDoneWithin = async (ms: number): Promise<boolean> => {
    const done = changed([]).then(() => true)
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<false>(resolve => {
      timer = setTimeout(() => resolve(false), ms)
      timer.unref()
    })
    const isDone = await Promise.race([done, late])
    clearTimeout(timer)
    return isDone
  }

  return {
    replay: file => {
      const warnings = [...found.warnings]
      const { base, applied } = appliedBase(found.content.applied, file, warnings)
      const drifted = withDrift(base, found.content.changes)
      warnings.push(...drifted.warnings)
      const { orders, leaving } = restore(found.content, drifted.config, clocks, warnings)
      return { wanted: { base, config: drifted.config, applied, orders, leaving }, warnings }
    },
    save: async wanted => {
      latest = wanted
      return (await isDoneWithin(PATIENCE_MS)) ? error : `${path} is not written yet: the disk is slow`
    },
    status: () => ({ path, entries, error }),
    end: async (patienceMs = END_PATIENCE_MS) => {
      if (await isDoneWithin(patienceMs)) return
      isEnded = true
      void journalWriter.giveUp()
      log.error(
        { event: 'journal.lost', path },
        'the disk is too slow: the last change is not in the journal',
      )
    },
  }
}
