/** Figures as the benchmarks print them: a name, conntrackd's, conntwin's, and what else there is to say. */

/** A number with so many digits; "-" where there is none. */
export const figure = (value: number | undefined, digits: number): string =>
  value === undefined || Number.isNaN(value) ? '-' : value.toFixed(digits);

/** One line of the table. */
export const line = (cells: readonly string[]): string =>
  cells.map((cell, i) => (i === 0 ? cell.padEnd(54) : cell.padStart(13))).join('');

/** The value below which a share `p` of the sorted values lies; NaN of none. */
export function percentile(sorted: Float64Array, p: number): number {
  return sorted.length === 0
    ? Number.NaN
    : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))];
}
