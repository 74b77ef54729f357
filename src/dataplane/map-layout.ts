/**
 * How a map's values are laid out, in words: "64 dstMac@0+6 srcMac@6+6 ... SLOT_STATE_SHIFT=20 ...". Kept with the pins, it
 * tells a later build whether it may use the map as it is, and if not, how to read it.
 */

import {
  backendCountLayout,
  backendLayout,
  clientRouteLayout,
  configLayout,
  connectionKind,
  connectionLayout,
  connectionSeen,
  connectionTimesLayout,
  flowBucketLayout,
  flowClass,
  flowCountLayout,
  flowLayout,
  indexLayout,
  interfaceLayout,
  localAddressLayout,
  pathMtuLayout,
  poolCountLayout,
  poolCursorLayout,
  poolLayout,
  prefixLayout,
  pressureLineLayout,
  replyCountLayout,
  replyLayout,
  serviceLayout,
  serviceState,
  slotLayout,
  slotState,
  traceLayout,
  trafficLayout,
  wantedNeighbourLayout,
} from './layout.js'
import type { MapName } from './load.js'

/** To be raised when what the bytes mean changes while their layout does not: a hash, an order of probing, a unit. */
export const FORMAT = 1

interface AnyStruct {
  readonly size: number
  readonly fields: Readonly<Record<string, { readonly offset: number; readonly width: number }>>
}

const ofStruct = ({ size, fields }: AnyStruct): string =>
  [size, ...Object.entries(fields).map(([name, { offset, width }]) => `${name}@${offset}+${width}`)].join(' ')

/** Enums that say which bits are what; one that only lists kinds may grow. */
const ofWord = (size: number, ...enums: readonly Readonly<Record<string, number>>[]): string =>
  [size, ...enums.flatMap(one => Object.entries(one).map(([name, value]) => `${name}=${value}`))].join(' ')

export const configText = ofStruct(configLayout)

/** The maps that count. */
export const ofCounts = {
  backend_counts: backendCountLayout,
  service_counts: trafficLayout,
  verdicts: trafficLayout,
  flow_counts: flowCountLayout,
  reply_counts: replyCountLayout,
  pool_counts: poolCountLayout,
} as const

export const mapTexts: Readonly<Record<MapName, string>> = {
  backend_counts: ofStruct(backendCountLayout),
  backends: ofStruct(backendLayout),
  flow_cache: `${ofStruct(flowBucketLayout)} ${ofWord(8, flowLayout, flowClass)}`,
  flow_counts: ofStruct(flowCountLayout),
  interfaces: ofStruct(interfaceLayout),
  out_ports: ofWord(4),
  path_mtus: ofStruct(pathMtuLayout),
  pressure: ofStruct(pressureLineLayout),
  answer_budgets: ofWord(8),
  service_counts: ofStruct(trafficLayout),
  services: `${ofStruct(serviceLayout)} ${ofWord(1, serviceState)}`,
  slots: ofWord(8, slotLayout, slotState),
  test_clock: ofWord(8),
  trace: ofStruct(traceLayout),
  client_routes: ofStruct(clientRouteLayout),
  connection_index: `${ofStruct(flowBucketLayout)} ${ofWord(8, indexLayout)}`,
  connection_times: ofStruct(connectionTimesLayout),
  connections: `${ofStruct(connectionLayout)} ${ofWord(1, connectionKind, connectionSeen)}`,
  local_addresses: ofStruct(localAddressLayout),
  pool_counts: ofStruct(poolCountLayout),
  pool_cursors: ofStruct(poolCursorLayout),
  pools: ofStruct(poolLayout),
  replies: ofStruct(replyLayout),
  reply_counts: ofStruct(replyCountLayout),
  snat_prefixes: ofStruct(prefixLayout),
  nat_sources: ofStruct(prefixLayout),
  verdicts: ofStruct(trafficLayout),
  wanted_neighbours: ofStruct(wantedNeighbourLayout),
}

/** A layout read back. */
export interface MapLayout {
  /** Bytes of a value. */
  readonly size: number
  readonly fields: ReadonlyMap<string, { readonly offset: number; readonly width: number }>
  /** Enum values by name. */
  readonly values: ReadonlyMap<string, number>
}

/** @returns null for what is no layout */
export const parseLayout = (text: string): MapLayout | null => {
  const [size, ...words] = text.split(' ')
  const fields = words.flatMap(word => {
    const [, name, offset, width] = /^(\w+)@(\d+)\+(\d+)$/.exec(word) ?? []
    return name === undefined ? [] : [[name, { offset: Number(offset), width: Number(width) }] as const]
  })
  const values = words.flatMap(word => {
    const [, name, value] = /^(\w+)=(\d+)$/.exec(word) ?? []
    return name === undefined ? [] : [[name, Number(value)] as const]
  })
  if (
    !/^[1-9]\d*$/.test(size ?? '') ||
    fields.length + values.length !== words.filter(word => !/^\d+$/.test(word)).length
  )
    return null
  return { size: Number(size), fields: new Map(fields), values: new Map(values) }
}
