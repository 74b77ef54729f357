/** How a packet's journey ends, by the numbers of bpf/shared.h. */
import { forwardMode, verdict } from './layout.js'

export type Verdict = keyof typeof verdict

export const verdictNames: ReadonlyMap<number, Verdict> = new Map(
  Object.entries(verdict).map(([name, value]) => [value, name as Verdict]),
)

/** By mode, what its packets end in: those are counted by backend, and the verdicts' totals are their sums. */
export const forwardVerdicts: ReadonlyMap<number, { readonly tx: Verdict; readonly redirect: Verdict }> =
  new Map([
    [forwardMode.FORWARD_DR, { tx: 'TX_DR', redirect: 'REDIRECT_DR' }],
    [forwardMode.FORWARD_IPIP, { tx: 'TX_IPIP', redirect: 'REDIRECT_IPIP' }],
    [forwardMode.FORWARD_GRE, { tx: 'TX_GRE', redirect: 'REDIRECT_GRE' }],
    [forwardMode.FORWARD_GUE, { tx: 'TX_GUE', redirect: 'REDIRECT_GUE' }],
    [forwardMode.FORWARD_NAT, { tx: 'TX_NAT', redirect: 'REDIRECT_NAT' }],
    [forwardMode.FORWARD_FULLNAT, { tx: 'TX_FULLNAT', redirect: 'REDIRECT_FULLNAT' }],
  ])

/** The same of replies that were translated back; those of a backend that is forwarded to otherwise by now: of NAT. */
export const replyVerdicts: typeof forwardVerdicts = new Map([
  [forwardMode.FORWARD_NAT, { tx: 'TX_NAT_REPLY', redirect: 'REDIRECT_NAT_REPLY' }],
  [forwardMode.FORWARD_FULLNAT, { tx: 'TX_FULLNAT_REPLY', redirect: 'REDIRECT_FULLNAT_REPLY' }],
])
