/** HTTP status codes that pass a check: "200", "200-399", "200,204,300-399". */

export interface StatusRange {
  readonly from: number
  readonly to: number
}

/** @returns the ranges, or what is wrong, in words that go on from the key's name */
export const parseStatusCodes = (text: string): readonly StatusRange[] | string => {
  const ranges: StatusRange[] = []
  for (const part of text.split(',', 101)) {
    const match = /^\s*(\d{3})(?:\s*-\s*(\d{3}))?\s*$/.exec(part)
    if (!match)
      return `must be status codes such as 200-399 or "200,204", not ${JSON.stringify(text.slice(0, 60))}`
    const from = Number(match[1])
    const to = Number(match[2] ?? match[1])
    if (from < 100 || to > 599) return `has ${part.trim()}: status codes are 100 to 599`
    if (from > to) return `has ${part.trim()}, which is no range: the smaller code comes first`
    ranges.push({ from, to })
  }
  return ranges.length > 100 ? 'has more than 100 parts' : ranges
}
