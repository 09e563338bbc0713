/** A firewall's kernel table as Debian's conntrack(8) prints it, made comparable between two kernels. */
import type { FirewallName, Lab } from './lab.js';

/** A flow of the sync link itself, or between a node and its neighbours: each node has its own. */
const LOCAL = /(src|dst)=10\.9\.0\./;

/** One line without what differs between two kernels that hold the same flow: timeout, counters, use. */
function comparable(line: string): string {
  return line
    .replace(/^(\S+\s+\d+) \d+ /, '$1 ')
    .replace(/ (packets|bytes|use)=\d+/g, '')
    .trim();
}

/** `conntrack -L` of both families, sorted, without timeout, counters, use, and without local flows. */
export async function kernelText(lab: Lab, fw: FirewallName): Promise<string[]> {
  const families = await Promise.all(
    ['ipv4', 'ipv6'].map((family) => lab.exec(fw, ['conntrack', '-L', '-f', family])),
  );
  const lines = families
    .flatMap((text) => text.split('\n'))
    .filter((line) => line !== '' && !LOCAL.test(line));
  return lines.map(comparable).sort();
}

/** What only one of two sorted texts has, the first few lines of each: empty when they are equal. */
export function textDifference(left: readonly string[], right: readonly string[]): string[] {
  const inLeft = new Set(left);
  const inRight = new Set(right);
  const only = (mark: string, lines: readonly string[], other: Set<string>) =>
    lines
      .filter((line) => !other.has(line))
      .slice(0, 5)
      .map((line) => `${mark} ${line}`);
  const found = [...only('-', left, inRight), ...only('+', right, inLeft)];
  return found.length === 0 && left.length !== right.length
    ? [`${left.length} lines against ${right.length}`]
    : found;
}
