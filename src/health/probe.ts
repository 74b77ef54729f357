/** One attempt to reach a backend: TCP connect, or an HTTP request. */
import { request } from 'node:http'
import { connect } from 'node:net'
import type { HealthCheck } from '../model.js'

export interface ProbeTarget {
  readonly address: string
  readonly port: number
  /** The Host header where the check names none. */
  readonly vip: string
}

/** `reason` says why not, in words. */
export type ProbeResult = { readonly ok: true } | { readonly ok: false; readonly reason: string }

export type Probe = (check: HealthCheck, target: ProbeTarget) => Promise<ProbeResult>

/** More of a body than this is not read. */
const MAX_BODY_BYTES = 1024 * 1024

const inWords: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  ETIMEDOUT: 'timed out',
}

const reasonOf = (error: Error & { code?: string }): string =>
  inWords[error.code ?? ''] ?? error.code ?? error.message

const place = ({ address, port }: ProbeTarget): string =>
  `${address.includes(':') ? `[${address}]` : address}:${port}`

const probeTcp: Probe = (check, target) =>
  new Promise(resolve => {
    const socket = connect({ host: target.address, port: target.port })
    const finish = (result: ProbeResult): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(result)
    }
    const timer = setTimeout(() => {
      finish({ ok: false, reason: `tcp ${place(target)}: no answer within ${check.timeoutMs} ms` })
    }, check.timeoutMs)
    socket.once('connect', () => finish({ ok: true }))
    socket.once('error', error => finish({ ok: false, reason: `tcp ${place(target)}: ${reasonOf(error)}` }))
  })

const probeHttp: Probe = (check, target) =>
  new Promise(resolve => {
    const what = `http ${place(target)}${check.path}`
    const vip = target.vip.includes(':') ? `[${target.vip}]` : target.vip
    const call = request({
      host: target.address,
      port: target.port,
      path: check.path,
      agent: false,
      headers: { host: check.host ?? vip, 'user-agent': 'linimo', connection: 'close' },
    })
    const finish = (result: ProbeResult): void => {
      clearTimeout(timer)
      call.destroy()
      resolve(result)
    }
    const timer = setTimeout(() => {
      finish({ ok: false, reason: `${what}: no answer within ${check.timeoutMs} ms` })
    }, check.timeoutMs)
    call.on('error', error => finish({ ok: false, reason: `${what}: ${reasonOf(error)}` }))
    call.once('response', response => {
      const status = response.statusCode ?? 0
      const isExpected = check.expect.some(({ from, to }) => status >= from && status <= to)
      if (!isExpected) return finish({ ok: false, reason: `${what}: status ${status}` })
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > MAX_BODY_BYTES) finish({ ok: true })
      })
      response.once('end', () => finish({ ok: true }))
      response.once('error', error => finish({ ok: false, reason: `${what}: ${reasonOf(error)}` }))
    })
    call.end()
  })

/** Makes one attempt; never rejects, and ends within the check's timeout. */
export const probe: Probe = (check, target) => (check.type === 'tcp' ? probeTcp : probeHttp)(check, target)
