/** Plots as SVG text: bars of ratios, and lines over a logarithmic axis. They are read on white and on black alike. */

const WIDTH = 720;
const FONT = 'font-family="sans-serif" font-size="12"';
const INK = '#808080';
const COLOURS = ['#c05a1e', '#1e7ac0', '#3c9a4b', '#8a4fbf'];

const escapeText = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

const text = (x: number, y: number, said: string, more = ''): string =>
  `<text x="${x}" y="${y}" fill="${INK}" ${FONT} ${more}>${escapeText(said)}</text>`;

const picture = (height: number, title: string, parts: readonly string[]): string =>
  [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img">`,
    `<title>${escapeText(title)}</title>`,
    text(8, 18, title, 'font-weight="bold"'),
    ...parts,
    '</svg>',
    '',
  ].join('\n');

/** One bar: its length, and a mark where the target is. */
export interface Bar {
  readonly name: string;
  readonly value: number;
  readonly target?: number;
}

const BAR_HEIGHT = 22;
const BAR_TOP = 34;
const NAME_WIDTH = 370;
const VALUE_WIDTH = 50;

/** Horizontal bars from zero. */
export function barPlot(title: string, bars: readonly Bar[]): string {
  const most = Math.max(...bars.map(({ value, target = 0 }) => Math.max(value, target)), 1e-9);
  const scale = (WIDTH - NAME_WIDTH - VALUE_WIDTH) / most;
  const parts = bars.flatMap(({ name, value, target }, i) => {
    const y = BAR_TOP + i * BAR_HEIGHT;
    const length = Math.max(1, value * scale);
    const isOver = target !== undefined && value > target;
    const bar = `<rect x="${NAME_WIDTH}" y="${y}" width="${length.toFixed(1)}" height="${BAR_HEIGHT - 8}" fill="${COLOURS[isOver ? 0 : 1]}"/>`;
    const mark = NAME_WIDTH + (target ?? 0) * scale;
    const line = `<path d="M${mark.toFixed(1)} ${y - 3}v${BAR_HEIGHT - 2}" stroke="${INK}" stroke-width="2"/>`;
    const said = text(NAME_WIDTH + length + 6, y + 11, value.toFixed(2));
    return [text(8, y + 11, name), bar, ...(target === undefined ? [] : [line]), said];
  });
  return picture(BAR_TOP + bars.length * BAR_HEIGHT + 8, title, parts);
}

export interface Curve {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

const PLOT = { left: 60, top: 34, right: 150, bottom: 40, height: 300 } as const;
const Y_STEPS = 4;

/** Lines over a logarithmic x axis; y starts at zero. */
export function linePlot(title: string, xName: string, yName: string, curves: readonly Curve[]): string {
  const all = curves.flatMap(({ points }) => points);
  if (all.length === 0) return picture(PLOT.top, title, []);
  const xs = [...new Set(all.map(([x]) => x))].sort((a, b) => a - b);
  const [low, high] = [Math.log(xs[0]), Math.log(xs[xs.length - 1])];
  const top = Math.max(...all.map(([, y]) => y)) * 1.05 || 1;
  const width = WIDTH - PLOT.left - PLOT.right;
  const depth = PLOT.height - PLOT.top - PLOT.bottom;
  const x = (value: number) => PLOT.left + ((Math.log(value) - low) / (high - low || 1)) * width;
  const y = (value: number) => PLOT.top + depth - (value / top) * depth;
  const rulers = Array.from({ length: Y_STEPS + 1 }, (_, i) => (top / Y_STEPS) * i).flatMap((value) => [
    `<path d="M${PLOT.left} ${y(value).toFixed(1)}h${width}" stroke="${INK}" stroke-opacity="0.3"/>`,
    text(8, y(value) + 4, value.toPrecision(3)),
  ]);
  const ticks = xs.map((value) =>
    text(x(value), PLOT.height - 22, value.toLocaleString('en'), 'text-anchor="middle"'),
  );
  const lines = curves
    .filter(({ points }) => points.length > 0)
    .flatMap(({ name, points }, i) => {
      const colour = COLOURS[i % COLOURS.length];
      const path = points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`).join(' ');
      const dots = points.map(
        ([px, py]) => `<circle cx="${x(px).toFixed(1)}" cy="${y(py).toFixed(1)}" r="3" fill="${colour}"/>`,
      );
      const last = points[points.length - 1];
      const label = `<text x="${WIDTH - PLOT.right + 8}" y="${(y(last[1]) + 4).toFixed(1)}" fill="${colour}" ${FONT}>${escapeText(name)}</text>`;
      return [`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`, ...dots, label];
    });
  const names = [text(PLOT.left, PLOT.height - 6, xName), text(WIDTH - PLOT.right + 8, PLOT.top - 6, yName)];
  return picture(PLOT.height, title, [...rulers, ...ticks, ...names, ...lines]);
}
