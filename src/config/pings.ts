/** What becomes of echo requests to a VIP: its services say it together. */
import type { Ping } from '../model.js'
import { childPath } from './fields.js'
import type { Report } from './problem.js'
import type { ServiceDraft } from './service.js'

const DEFAULT_PING: Ping = 'answer'

/** @returns by service: what it says, else what another one of its VIP says, else the default */
export const createPings = (
  services: readonly ServiceDraft[],
  report: Report,
): ((service: ServiceDraft) => Ping) => {
  const said = new Map<string, { readonly ping: Ping; readonly name: string; readonly line: number }>()
  for (const { name, path, fields } of services) {
    const { vip, ping } = fields.values
    if (vip === undefined || ping === undefined) continue
    const at = fields.at('ping')
    const first = said.get(vip)
    if (!first) said.set(vip, { ping, name, line: at.line })
    else if (first.ping !== ping)
      report.problem(
        at,
        childPath(path, 'ping'),
        `ping is ${ping}, but ${first.ping} in line ${first.line} for ${first.name}, which has the same VIP ${vip}`,
        'say it once for each VIP',
      )
  }
  return ({ fields: { values } }) => said.get(values.vip ?? '')?.ping ?? DEFAULT_PING
}
