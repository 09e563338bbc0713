/** A figure of the comparison: what it is called, in which unit, and what the project set itself as a target for it. */

/** Who is measured: both daemons, Conntwin with a key, and a loop that does nothing else: the kernel's own limit. */
export const SIDES = ['conntrackd', 'conntwin', 'sealed', 'kernel'] as const;
export type Side = (typeof SIDES)[number];

/** What is to be reached; all that are there must hold. */
export interface Target {
  /** Ours divided by conntrackd's: at most, or where more is better at least. */
  readonly ratio?: number;
  /** Ours as a share of the kernel's limit, at least; only where more is better. */
  readonly share?: number;
  /** Ours itself: at most, or where more is better at least. */
  readonly value?: number;
}

export interface Figure {
  readonly id: string;
  readonly name: string;
  readonly unit: string;
  /** After the point. */
  readonly digits: number;
  /** Default: less is better. */
  readonly isMoreBetter?: boolean;
  readonly target?: Target;
  /** Whose value the target is for, when it is not plain Conntwin. */
  readonly ours?: 'sealed';
  /** It explains others, and stands in the second table. */
  readonly isDetail?: boolean;
}

/** What one measurement of one side brought, by figure; a figure that a side does not tell is missing. */
export type Values = Readonly<Record<string, number>>;

/** The median of the rounds, and how far they were apart. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Undefined when no round told a number. */
export function spreadOf(values: readonly number[]): Spread | undefined {
  const sorted = values.filter((value) => Number.isFinite(value)).sort((a, b) => a - b);
  if (sorted.length === 0) return undefined;
  const half = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(half)] + sorted[Math.ceil(half)]) / 2;
  return { median, min: sorted[0], max: sorted[sorted.length - 1] };
}

/** A figure with what all sides came to. */
export interface Outcome {
  readonly figure: Figure;
  readonly sides: Readonly<Partial<Record<Side, Spread>>>;
  /** Ours to conntrackd's, of the medians. */
  readonly ratio: number | undefined;
  /** Ours of the kernel's limit, 1 is all of it: how much of the least possible cost, or of the highest rate. */
  readonly share: number | undefined;
  /** Undefined: there is no target, or it could not be judged. */
  readonly verdict: 'hit' | 'miss' | undefined;
}

/** Judges the medians of a figure. */
export function outcomeOf(
  figure: Figure,
  values: Readonly<Partial<Record<Side, readonly number[]>>>,
): Outcome {
  const sides: Partial<Record<Side, Spread>> = {};
  for (const side of SIDES) {
    const spread = spreadOf(values[side] ?? []);
    if (spread !== undefined) sides[side] = spread;
  }
  const ours = sides[figure.ours ?? 'conntwin']?.median;
  const theirs = sides.conntrackd?.median;
  const kernel = sides.kernel?.median;
  const ratio = ours !== undefined && theirs ? ours / theirs : undefined;
  const share = ours && kernel ? (figure.isMoreBetter ? ours / kernel : kernel / ours) : undefined;
  return { figure, sides, ratio, share, verdict: verdictOf(figure, ours, ratio, share) };
}

function verdictOf(
  { target, isMoreBetter = false }: Figure,
  ours: number | undefined,
  ratio: number | undefined,
  share: number | undefined,
): Outcome['verdict'] {
  if (target === undefined || ours === undefined) return undefined;
  const reaches = (value: number | undefined, limit: number | undefined, isMore: boolean) =>
    limit === undefined || value === undefined ? undefined : isMore ? value >= limit : value <= limit;
  const judged = [
    reaches(ratio, target.ratio, isMoreBetter),
    reaches(share, target.share, true),
    reaches(ours, target.value, isMoreBetter),
  ].filter((each) => each !== undefined);
  if (judged.length === 0) return undefined;
  return judged.every(Boolean) ? 'hit' : 'miss';
}

/** A target in words: "<= 0.50 of conntrackd". */
export function targetText({ target, isMoreBetter, digits }: Figure): string {
  if (target === undefined) return '';
  const sign = isMoreBetter ? '>=' : '<=';
  const texts: string[] = [];
  if (target.ratio !== undefined) texts.push(`${sign} ${target.ratio.toFixed(2)} of conntrackd`);
  if (target.share !== undefined) texts.push(`>= ${Math.round(target.share * 100)} % of the limit`);
  if (target.value !== undefined) texts.push(`${sign} ${target.value.toFixed(digits)}`);
  return texts.join(', ');
}
