/** Answers as text. */
import type { Answer, Bench, Figure } from './bench.js'
import type { Machine } from './machine.js'

const digits = (value: number): string =>
  value >= 1000
    ? Math.round(value).toLocaleString('en')
    : value >= 100
      ? value.toFixed(0)
      : value >= 0.995
        ? value.toFixed(1)
        : value.toPrecision(2)

const budgetText = ({ value, ratio, budget }: Figure): string => {
  if (!budget) return ''
  const is = budget.of === 'value' ? value : (ratio ?? Number.NaN)
  const unit = budget.of === 'ratio' ? ' x' : ''
  return 'atMost' in budget
    ? `budget ${budget.atMost}${unit}${is > budget.atMost ? ', exceeded' : ''}`
    : `at least ${budget.atLeast}${unit}${is < budget.atLeast ? ', missed' : ''}`
}

const cells = (figure: Figure): string[] => [
  figure.name,
  digits(figure.value),
  figure.range ? `[${digits(figure.range[0])}, ${digits(figure.range[1])}]` : '',
  figure.unit,
  figure.ratio === undefined ? '' : `${figure.ratio.toFixed(2)} x`,
  figure.ratioTo ?? '',
  budgetText(figure),
  figure.note ?? '',
]

/** Numbers to the right, text to the left. */
const RIGHT = new Set([1, 4])

const table = (rows: readonly (readonly string[])[]): string[] => {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map(row => row[column]!.length))) ?? []
  return rows.map(row =>
    row
      .map((cell, i) => (RIGHT.has(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .filter((_, i) => widths[i]! > 0)
      .join('  ')
      .trimEnd(),
  )
}

export const machineText = (machine: Machine): string =>
  `${machine.cpu}, ${machine.cores} cores; Linux ${machine.kernel}; node ${machine.node}; ${machine.clang}; ${machine.date}`

export const questionText = ({ name, question, method }: Bench): string =>
  [`${name}: ${question}`, `  method: ${method}`].join('\n')

export const answerText = ({ figures, setup }: Answer): string =>
  [...setup.map(line => `  ${line}`), ...table(figures.map(cells)).map(line => `    ${line}`)].join('\n')
