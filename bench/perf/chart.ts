import type { Row } from './comparison.ts'
import { titleOf } from './table.ts'
import { workloads } from './workloads.ts'

const width = 760
const labelWidth = 170
const valueWidth = 50
const barHeight = 13
const rowHeight = 18
const headHeight = 30
const groupGap = 14

/** Readable on white and on black. */
const ink = '#6e7781'
const colors: Record<string, string> = {
  floor: '#8c959f',
  ours: '#1f6feb',
  'ours-bare': '#79b8ff',
}
const otherColor = '#d29922'

/** Requests per second by those of the floor, as bars with their quartiles, for the README. */
export function chartOf(rows: readonly Row[], caption: string): string {
  const groups = Object.entries(Object.groupBy(rows, ({ workload }) => workload))
  const longest = Math.max(1, ...rows.map(({ ofFloor }) => ofFloor.q3))
  const scale = (width - labelWidth - valueWidth) / longest
  const parts: string[] = []
  let y = headHeight
  for (const [name, group = []] of groups) {
    y += groupGap
    parts.push(text(0, y, `${name}  ${workloads[name as Row['workload']].title}`, 'font-weight="600"'))
    y += 8
    for (const row of group) {
      parts.push(...barOf(row, y, scale))
      y += rowHeight
    }
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y + 8}" font-family="system-ui, sans-serif" font-size="12" fill="${ink}" role="img" aria-label="${escaped(caption)}">`,
    text(0, 16, caption),
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

function barOf({ stack, ofFloor }: Row, y: number, scale: number): string[] {
  const end = labelWidth + ofFloor.median * scale
  const [from, to] = [labelWidth + ofFloor.q1 * scale, labelWidth + ofFloor.q3 * scale]
  const middle = y + barHeight / 2
  return [
    text(labelWidth - 8, y + 11, titleOf(stack), 'text-anchor="end"'),
    `<rect x="${labelWidth}" y="${y}" width="${round(end - labelWidth)}" height="${barHeight}" rx="2" fill="${colors[stack] ?? otherColor}"/>`,
    `<path d="M${round(from)} ${middle}H${round(to)}" stroke="${ink}" stroke-width="2"/>`,
    text(Math.max(end, to) + 6, y + 11, ofFloor.median.toFixed(2)),
  ]
}

const text = (x: number, y: number, content: string, more = '') =>
  `<text x="${round(x)}" y="${y}"${more && ` ${more}`}>${escaped(content)}</text>`

const round = (value: number) => Math.round(value * 10) / 10

const escaped = (content: string) => content.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/"/g, '&quot;')
