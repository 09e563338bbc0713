/** What is wrong in an expression, with the place under which it stands. */

/** Characters of the expression that are shown on each side of the place. */
const SHOWN_BEFORE = 60;
const SHOWN_AFTER = 40;

/** The message has three lines: what is wrong and what would be right, the expression, a caret below the place. */
export class WhereError extends RangeError {
  override readonly name = 'WhereError';
  /** Of the first wrong character, counted from 1. */
  readonly column: number;

  constructor(text: string, index: number, problem: string) {
    super(`column ${index + 1}: ${problem}\n${excerpt(text, index)}`);
    this.column = index + 1;
  }
}

function excerpt(text: string, index: number): string {
  const from = Math.max(0, index - SHOWN_BEFORE);
  const to = index + SHOWN_AFTER;
  // A tab or a line end would move the caret away from its place.
  const shown = text.slice(from, to).replace(/\s/g, ' ');
  const [before, after] = [from > 0 ? '...' : '', to < text.length ? '...' : ''];
  return `  ${before}${shown}${after}\n  ${' '.repeat(before.length + index - from)}^`;
}

/** ": did you mean ...?" for a word that is nearly one of the known ones, else nothing. */
export function suggestion(word: string, known: readonly string[]): string {
  let best = '';
  let least = Math.max(1, Math.floor((word.length + 1) / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate);
    if (distance >= least) continue;
    least = distance;
    best = candidate;
  }
  return best === '' ? '' : `: did you mean "${best}"?`;
}

/** Letters that must be put in, taken out or changed to make one word of the other. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}
