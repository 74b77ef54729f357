/** Page after page of flows as one sequence: the next page is on its way while one is read, and no more than that. */
import { type FlowPage, type FlowRow, MAX_PAGE_ROWS, type Params } from './protocol.js'

export interface FlowListOptions {
  readonly service?: string | undefined
  readonly backend?: string | undefined
  readonly client?: string | undefined
  readonly state?: FlowRow['state'] | undefined
  /** No more than these. */
  readonly limit?: number | undefined
}

export async function* listFlows(
  ask: (page: Params<'flow.list'>) => Promise<FlowPage>,
  { limit = Number.POSITIVE_INFINITY, ...filter }: FlowListOptions = {},
): AsyncGenerator<FlowRow, void, undefined> {
  let left = limit
  const askFrom = (cursor: string | null): Promise<FlowPage> | null => {
    if (left < 1) return null
    const page = ask({
      ...filter,
      ...(cursor === null ? {} : { cursor }),
      limit: Math.min(MAX_PAGE_ROWS, left),
    })
    page.catch(() => undefined) // who has stopped reading is not told
    return page
  }
  let page = askFrom(null)
  while (page !== null) {
    const { flows, cursor }: FlowPage = await page
    left -= flows.length
    page = cursor === null ? null : askFrom(cursor)
    yield* flows
  }
}
