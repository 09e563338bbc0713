/** Outcomes as a table, for the terminal and for a page. */
import { type Outcome, type Side, type Spread, targetText } from './figure.js';

const HEADS: Readonly<Record<Side, string>> = {
  conntrackd: 'conntrackd',
  conntwin: 'Conntwin',
  sealed: 'Conntwin, sealed',
  kernel: 'kernel alone',
};
const COLUMNS = Object.keys(HEADS) as Side[];
const LONG = 10_000;

/** Thousands are set apart where a number is long. */
const numberText = (value: number, digits: number): string =>
  Math.abs(value) >= LONG ? Math.round(value).toLocaleString('en') : value.toFixed(digits);

/** The median, and in brackets how far the rounds were apart. */
function spreadText(spread: Spread | undefined, digits: number): string {
  if (spread === undefined) return '-';
  const { median, min, max } = spread;
  const middle = numberText(median, digits);
  return min === max ? middle : `${middle} (${numberText(min, digits)}-${numberText(max, digits)})`;
}

/** One row: name, sides, ratio, share, target, verdict. */
function cells(outcome: Outcome, columns: readonly Side[]): string[] {
  const { figure, sides, ratio, share, verdict } = outcome;
  const name = figure.unit === '' ? figure.name : `${figure.name} (${figure.unit})`;
  return [
    name,
    ...columns.map((side) => spreadText(sides[side], figure.digits)),
    ratio === undefined ? '-' : ratio.toFixed(2),
    share === undefined ? '-' : `${Math.round(share * 100)} %`,
    targetText(figure),
    verdict ?? '',
  ];
}

/** Head and rows; sides that nothing was told of are left out. */
function grid(outcomes: readonly Outcome[]): string[][] {
  const columns = COLUMNS.filter((side) => outcomes.some(({ sides }) => sides[side] !== undefined));
  const head = ['', ...columns.map((side) => HEADS[side]), 'ratio', 'of the limit', 'target', ''];
  return [head, ...outcomes.map((outcome) => cells(outcome, columns))];
}

/** Columns as wide as their longest cell. */
export function plainTable(outcomes: readonly Outcome[]): string {
  const rows = grid(outcomes);
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i] + 2))).join('');
  return `${rows.map((row) => line(row).trimEnd()).join('\n')}\n`;
}

/** The same for Markdown; a miss stands out. */
export function markdownTable(outcomes: readonly Outcome[]): string {
  const [head, ...rows] = grid(outcomes);
  const line = (row: readonly string[]) => `| ${row.join(' | ')} |`;
  const rule = `|---|${'---:|'.repeat(head.length - 3)}---|---|`;
  const marked = rows.map((row) => row.map((cell) => (cell === 'miss' ? '**miss**' : cell)));
  return `${[line(head), rule, ...marked.map(line)].join('\n')}\n`;
}
