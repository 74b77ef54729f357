/** An ICMP error whose quoted packet was translated on its way: translated too, outside and in the quote (RFC 5508 4). */
import { type Ends, type Place, repairTransport, withOtherEnds } from './rewrite.js'

/**
 * @param outer the error's own packet
 * @param quoted the packet in it; `end` is the error's
 * @param to what becomes of the outer addresses, and of the quoted ones and their ports
 */
export const translateError = (
  frame: Uint8Array,
  outer: Place,
  quoted: Place,
  to: { readonly outer: Ends; readonly quoted: Ends },
): Uint8Array => {
  const inside = withOtherEnds(frame, quoted, to.quoted)
  const summed = Uint8Array.from(inside)
  repairTransport(frame, summed, outer)
  return withOtherEnds(summed, outer, to.outer)
}
