/** Why a figure misses its target, as far as anybody has found out; by its id, or the beginning of it. */
const REASONS: Readonly<Record<string, string>> = {};

/** The reason that is known for a miss, or "not found". */
export function reasonOf(id: string): string {
  const known = Object.entries(REASONS).filter(([prefix]) => id.startsWith(prefix));
  const [longest] = known.sort(([a], [b]) => b.length - a.length);
  return longest?.[1] ?? 'not found';
}
