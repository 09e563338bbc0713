/** The generated part of docs/performance.md, its pictures, and the file of raw results that they came from. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Outcome } from './figure.js';
import type { Machine } from './machine.js';
import type { Measurements } from './measurements.js';
import { markdownTable } from './outcome-table.js';
import type { Sizes } from './part.js';
import { barPlot, type Curve, linePlot } from './plot.js';
import { reasonOf } from './reasons.js';

const BEGIN = '<!-- npm run bench writes from here -->';
const END = '<!-- to here -->';
const PAGE = 'docs/performance.md';
const RATIOS = 'performance-ratios.svg';
const GROWTH = 'performance-growth.svg';

/** All that one run of the benchmark came to. */
export interface BenchReport {
  readonly machine: Machine;
  readonly sizes: Sizes;
  readonly command: string;
  readonly outcomes: readonly Outcome[];
  readonly problems: readonly string[];
}

/** Writes the raw results under `root` and returns the path. */
export function writeResults(root: string, report: BenchReport, measurements: Measurements): string {
  const { machine, sizes, command, outcomes, problems } = report;
  const directory = join(root, 'bench/results');
  mkdirSync(directory, { recursive: true });
  const path = join(directory, `${machine.date.replace(':', '')}-${machine.kernel}.json`);
  const figures = outcomes.map(({ figure, ratio, share, verdict }) => {
    return { id: figure.id, name: figure.name, unit: figure.unit, ratio, share, verdict };
  });
  const everything = { machine, command, sizes, figures, values: measurements.raw(), problems };
  writeFileSync(path, `${JSON.stringify(everything, undefined, 2)}\n`);
  return path;
}

/** Writes the pictures and replaces what stands between the markers of the page; throws where they are missing. */
export function writePage(root: string, report: BenchReport): void {
  const page = join(root, PAGE);
  const text = readFileSync(page, 'utf8');
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${PAGE}: the lines "${BEGIN}" and "${END}" are missing`);
  writeFileSync(join(root, 'docs', RATIOS), ratioPlot(report.outcomes));
  const hasGrowth = report.outcomes.some(({ figure }) => figure.id.startsWith('growth.'));
  if (hasGrowth) writeFileSync(join(root, 'docs', GROWTH), growthPlot(report.outcomes));
  const made = [BEGIN, '', ...generated(report, hasGrowth), ''].join('\n');
  writeFileSync(page, text.slice(0, begin) + made + text.slice(end));
}

/** The page's generated lines. */
export function generated(
  { machine, command, outcomes, problems }: BenchReport,
  hasGrowth: boolean,
): string[] {
  const { date, kernel, cores, processor, memoryGiB, node, conntwin, conntrackd, loadBefore } = machine;
  const theirs =
    conntrackd === ''
      ? 'conntrackd was not installed: only Conntwin was measured'
      : `conntrackd ${conntrackd}`;
  const misses = outcomes.filter(({ verdict }) => verdict === 'miss');
  const hits = outcomes.filter(({ verdict }) => verdict === 'hit');
  const missed = misses.map(({ figure }) => `- ${figure.name}: ${reasonOf(figure.id)}.`);
  const main = outcomes.filter(({ figure }) => !figure.isDetail);
  const detail = outcomes.filter(({ figure }) => figure.isDetail);
  return [
    `\`${command}\`, ${date.replace('T', ' ')} UTC: Linux ${kernel}, ${cores} cores (${processor}), ${memoryGiB} GiB,`,
    `Node.js ${node}, Conntwin ${conntwin}, ${theirs}. Load of the machine before it began: ${loadBefore}.`,
    'Medians of the rounds, in brackets the lowest and the highest of them.',
    '',
    `![Conntwin's figures divided by conntrackd's, with their targets](${RATIOS})`,
    '',
    markdownTable(main),
    `Targets: ${hits.length} hit, ${misses.length} missed.`,
    ...(missed.length > 0 ? ['', 'Missed, and why as far as it is known:', '', ...missed] : []),
    ...(hasGrowth ? ['', `![Memory per flow as tables grow](${GROWTH})`] : []),
    ...(detail.length > 0 ? ['', '### Details', '', markdownTable(detail).trimEnd()] : []),
    ...(problems.length > 0 ? ['', 'Rounds that failed and count for nothing:', ''] : []),
    ...problems.map((problem) => `- ${problem.split('\n')[0]}`),
  ];
}

/** Costs only: where less is better, so that a bar over its mark is a miss. */
function ratioPlot(outcomes: readonly Outcome[]): string {
  const bars = outcomes
    .filter(({ figure, ratio }) => ratio !== undefined && !figure.isDetail && !figure.isMoreBetter)
    .map(({ figure, ratio }) => {
      const target = figure.target?.ratio;
      return { name: figure.name, value: ratio!, ...(target === undefined ? {} : { target }) };
    });
  return barPlot('Conntwin / conntrackd: less is better, the mark is the target', bars);
}

function growthPlot(outcomes: readonly Outcome[]): string {
  const curves = (['conntrackd', 'conntwin'] as const).flatMap((side) =>
    (['active', 'backup'] as const).map((node): Curve => {
      const points = outcomes.flatMap(({ figure, sides }): [number, number][] => {
        const [part, where, flows] = figure.id.split('.');
        const value = sides[side]?.median;
        return part === 'growth' && where === node && value !== undefined ? [[Number(flows), value]] : [];
      });
      return { name: `${side}, ${node}`, points };
    }),
  );
  return linePlot('Memory per flow', 'flows in the table', 'bytes', curves);
}
