/** The keys of the configuration, and what each value may be. */
import { isIP } from 'node:net'
import { z } from 'zod'
import { canonicalMac } from '../address.js'
import type { ForwardMode, HashPart, Listen, PortRange, Protocol } from '../model.js'
import { isRingSize, MAX_RING_SIZE, MIN_RING_SIZE, nearestRingSizes } from '../ring/size.js'
import { didYouMean } from './did-you-mean.js'
import { formatDuration, parseDuration } from './durations.js'
import { type Leaf, leaf, list, nested, refuse } from './fields.js'
import { type LocalAddresses, parseLocalAddresses, parsePortRange, parsePrefix } from './prefixes.js'
import { backendNameRule, hostMacRule, parseHostAddress, parseListen, parseTunnelSource } from './rules.js'
import { parseStatusCodes } from './status-codes.js'

const whole = (min: number, max: number): Leaf<number> =>
  leaf(`a whole number from ${min} to ${max}`, z.int().min(min).max(max))

const inWords = (words: readonly string[]): string =>
  words.length < 2 ? words.join() : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`

const oneOf = <const W extends readonly [string, ...string[]]>(...words: W): Leaf<W[number]> =>
  leaf(inWords(words), z.enum(words), { words })

const LATER = 'is not available in this version'

/** @param later words that are right, but for another version */
const oneOfSoFar = <W extends string>(words: readonly [W, ...W[]], later: readonly string[]): Leaf<W> => {
  const known: z.ZodType<W> = z.enum(words)
  const schema = z.string().transform((word, context): W => {
    if (later.includes(word)) return refuse(context, `${word} ${LATER}`)
    const result = known.safeParse(word)
    return result.success
      ? result.data
      : refuse(context, `must be ${inWords(words)}, not ${word}`, hintFor(word))
  })
  const hintFor = (word: string) => didYouMean(word, [...words, ...later]) ?? undefined
  return leaf(inWords(words), schema)
}

const duration = (minMs: number, maxMs: number): Leaf<number> => {
  const from = formatDuration(minMs)
  const to = formatDuration(maxMs)
  const what = `a duration from ${from} to ${to}`
  const schema = z.union([z.string(), z.number()]).transform((value, context): number => {
    if (typeof value === 'number')
      return refuse(context, `must be ${what}, not ${value}`, `say the unit: ${value}s or ${value}ms`)
    const ms = parseDuration(value)
    if (ms === null)
      return refuse(
        context,
        `must be ${what}, not ${value}`,
        'a number and ms, s, m or h: 500ms, 2s, 15m, 1h',
      )
    if (ms < minMs) return refuse(context, `is ${value}: at least ${from}`)
    return ms > maxMs ? refuse(context, `is ${value}: at most ${to}`) : ms
  })
  return leaf(what, schema)
}

/** Text by a rule of rules.ts. */
const text = (what: string, rule: (text: string) => string | null): Leaf<string> =>
  leaf(
    what,
    z.string().transform((value, context) => {
      const broken = rule(value)
      return broken === null ? value : refuse(context, broken)
    }),
    { asWritten: true },
  )

const hostAddress: Leaf<string> = leaf(
  'an IPv4 or IPv6 address',
  z.string().transform((value, context): string => {
    const parsed = parseHostAddress(value)
    return 'address' in parsed ? parsed.address : refuse(context, parsed.broken)
  }),
)

const mac: Leaf<string> = leaf(
  'six hex octets such as "02:00:00:00:00:0c"',
  z.string().transform((value, context): string => {
    const canonical = canonicalMac(value)
    if (canonical === null)
      return refuse(
        context,
        `must be six hex octets such as "02:00:00:00:00:0c", not ${JSON.stringify(value)}`,
      )
    const broken = hostMacRule(canonical)
    return broken === null ? canonical : refuse(context, broken)
  }),
)

const ringSize: Leaf<number> = leaf(
  `a prime from ${MIN_RING_SIZE} to ${MAX_RING_SIZE}`,
  z
    .number()
    .transform((size, context): number =>
      isRingSize(size)
        ? size
        : refuse(
            context,
            `must be a prime from ${MIN_RING_SIZE} to ${MAX_RING_SIZE}, not ${size}`,
            Number.isFinite(size) ? `the nearest: ${nearestRingSizes(size).join(', ')}` : undefined,
          ),
    ),
)

const interfaceName = text('the name of an interface', name =>
  /^[^\s/:\p{C}]{1,15}$/u.test(name) && name !== '.' && name !== '..'
    ? null
    : `must be a name of up to 15 characters without spaces, colons and slashes, not ${JSON.stringify(name)}`,
)

const isPrefix = (value: string): boolean => {
  const match = /^([^/%]+)\/(\d{1,3})$/.exec(value)
  const family = isIP(match?.[1] ?? '')
  return family !== 0 && Number(match?.[2]) <= (family === 4 ? 32 : 128)
}

const listen: Leaf<Listen> = leaf(
  'an address and port',
  z
    .string()
    .transform(
      (value, context): Listen =>
        parseListen(value) ??
        refuse(context, `must be an address and port such as 127.0.0.1:9464, not ${JSON.stringify(value)}`),
    ),
  { asWritten: true },
)

const portRange: Leaf<PortRange> = leaf(
  'a range of ports such as 1024-65535',
  z.string().transform((value, context): PortRange => {
    const parsed = parsePortRange(value)
    return 'first' in parsed ? parsed : refuse(context, parsed.broken)
  }),
  { asWritten: true },
)

export const rootShape = {
  interfaces: list(interfaceName),
  xdp: oneOf('auto', 'native', 'generic'),
  seed: leaf(
    '32 hex digits',
    z
      .string()
      .regex(/^[0-9a-f]{32}$/i)
      .toLowerCase(),
    { asWritten: true },
  ),
  limits: nested,
  services: nested,
  http: nested,
  'tunnel-source': nested,
  'local-addresses': nested,
  'local-ports': portRange,
  snat: nested,
  'probe-prefix': text('an address prefix', value =>
    isPrefix(value) ? null : `must be an address prefix such as 240.0.0.0/12, not ${JSON.stringify(value)}`,
  ),
} as const

/** Backends have ids of 20 bits, of which 0 is none. */
export const limitsShape = {
  services: whole(1, 65536),
  backends: whole(1, 1048575),
  slots: whole(MIN_RING_SIZE, 268435456),
  flows: whole(8, 1073741824),
  'nat-flows': whole(1, 67108864),
} as const

export const httpShape = { listen } as const

const laterSchedulers = 'rr wrr lc wlc lblc lblcr dh sh sed nq mh fo ovf twos'.split(' ')

const protocol: Leaf<Protocol> = oneOf('tcp', 'udp')
const hashPart: Leaf<HashPart> = oneOf('source', 'source-port', 'destination', 'destination-port')

const port = whole(1, 65535)
const greKey = whole(0, 0xffff_ffff)
const variant: Leaf<0 | 1> = leaf('0 or 1', z.union([z.literal(0), z.literal(1)]))

const noModes: Readonly<Record<string, string>> = {
  vxlan:
    'is not built: its inner Ethernet header needs a MAC address of each backend, and takes 14 bytes more',
}
const modeHints: Readonly<Record<string, string>> = {
  vxlan: 'use gue, which goes by UDP too',
  tun: 'did you mean ipip?',
  tunnel: 'did you mean ipip?',
  masq: 'did you mean nat?',
  masquerade: 'did you mean nat?',
  masquerading: 'did you mean nat?',
  dnat: 'did you mean nat?',
  snat: 'did you mean fullnat?',
}
const modes = ['dr', 'ipip', 'gre', 'gue', 'nat', 'fullnat'] as const

/** How packets reach a backend, in a word. */
export const forwardMode: Leaf<ForwardMode> = leaf(
  inWords(modes),
  z.string().transform((word, context): ForwardMode => {
    const mode = modes.find(one => one === word)
    if (mode !== undefined) return mode
    const hint = modeHints[word] ?? didYouMean(word, modes) ?? undefined
    const why = noModes[word]
    return refuse(
      context,
      why === undefined ? `must be ${inWords(modes)}, not ${word}` : `${word} ${why}`,
      hint,
    )
  }),
)

/** The same in detail. */
export const forwardShape = { mode: forwardMode, key: greKey, port, variant } as const

/** An outer source: an address, or a prefix of which the last bits are each flow's own. */
export const tunnelSource: Leaf<string> = leaf(
  'an address or a prefix such as 10.9.0.0/16',
  z.string().transform((value, context): string => {
    const parsed = parseTunnelSource(value)
    return 'source' in parsed ? parsed.source : refuse(context, parsed.broken, parsed.hint)
  }),
)

/** Of a service, and of a backend. */
export const forwardKeys = {
  forward: nested,
  key: greKey,
  'tunnel-port': port,
  variant,
  'tunnel-source': nested,
} as const

/** Local addresses of FULLNAT and SNAT: an address, or all of a prefix. */
export const localAddresses: Leaf<LocalAddresses> = leaf(
  'an address or a prefix such as 10.1.0.0/28',
  z.string().transform((value, context): LocalAddresses => {
    const parsed = parseLocalAddresses(value)
    return 'addresses' in parsed ? parsed : refuse(context, parsed.broken, parsed.hint)
  }),
)

/** Whose own connections are translated. */
export const snatPrefix: Leaf<string> = leaf(
  'a prefix such as 10.2.0.0/24',
  z.string().transform((value, context): string => {
    const parsed = parsePrefix(value)
    return 'prefix' in parsed ? parsed.prefix : refuse(context, parsed.broken, parsed.hint)
  }),
)

/** The data plane counts them in seconds, in 16 bits. */
const wholeSeconds = (what: string): Leaf<number> => {
  const any = duration(1000, 18 * 3_600_000)
  return {
    ...any,
    schema: any.schema.transform((ms, context) =>
      ms % 1000 === 0 ? ms : refuse(context, `is ${formatDuration(ms)}: ${what} is counted in whole seconds`),
    ),
  }
}
const timeout = wholeSeconds('a timeout')

export const timeoutsShape = {
  'syn-sent': timeout,
  'syn-received': timeout,
  'fin-wait': timeout,
  'close-wait': timeout,
  'last-ack': timeout,
  'time-wait': timeout,
  close: timeout,
  'udp-once': timeout,
} as const

export const MAX_IDLE_MS = 8 * 3_600_000
const MAX_LEAVE_MS = 7 * 24 * 3_600_000

export const serviceShape = {
  vip: hostAddress,
  port: leaf('a number from 1 to 65535, or 0 for every port', z.int().min(0).max(65535)),
  protocol,
  ...forwardKeys,
  mss: oneOf('keep', 'clamp'),
  ping: oneOf('answer', 'pass', 'drop'),
  scheduler: oneOfSoFar(['maglev'], laterSchedulers),
  'ring-size': ringSize,
  hash: list(hashPart),
  'no-backend': oneOf('reject', 'drop'),
  tracking: oneOf('on-change', 'always', 'never'),
  'idle-time': duration(1000, MAX_IDLE_MS),
  'udp-idle-time': duration(1000, MAX_IDLE_MS),
  'leave-deadline': duration(0, MAX_LEAVE_MS),
  'last-resort': oneOf('drained', 'none'),
  'local-addresses': nested,
  toa: leaf('true or false', z.boolean()),
  timeouts: nested,
  health: nested,
  backends: nested,
} as const

const weight = whole(0, 1000)

export const backendShape = {
  name: text('a name', backendNameRule),
  address: hostAddress,
  port,
  weight,
  mac,
  ...forwardKeys,
} as const

export const healthShape = {
  type: oneOf('tcp', 'http'),
  port,
  interval: duration(100, 3_600_000),
  timeout: duration(10, 3_600_000),
  rise: whole(1, 1000),
  fall: whole(1, 1000),
  expect: leaf(
    'status codes such as 200-399 or "200,204"',
    z.union([z.string(), z.int()]).transform((value, context) => {
      const codes = parseStatusCodes(String(value))
      return typeof codes === 'string' ? refuse(context, codes) : codes
    }),
    { asWritten: true },
  ),
  path: text('a path', value =>
    /^\/[\x21-\x7e]{0,2047}$/.test(value)
      ? null
      : 'must begin with / and have no spaces, up to 2048 characters of ASCII',
  ),
  host: text('a host name', value =>
    /^[\x21-\x2e\x30-\x7e]{1,255}$/.test(value)
      ? null
      : 'must have no spaces and slashes, up to 255 characters of ASCII',
  ),
  initially: oneOf('down', 'up'),
} as const

/** Keys that only a check of type http has. */
export const httpOnlyKeys = ['expect', 'path', 'host'] as const

export const serviceNameRule = (name: string): string | null =>
  /^[a-z0-9-]{1,40}$/.test(name) ? null : 'must be of a-z, 0-9 and -, up to 40'
