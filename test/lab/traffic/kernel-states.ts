/** What a firewall's kernel says of the flows that are not seen to talk: their state, and how long they have left. */
import type { FirewallName, Lab } from '../lab.js';
import { kindOf } from './kinds.js';

interface Expected {
  readonly kind: string;
  readonly state: string;
  /** Seconds that a flow may have left: not about to expire, and not more than this state is ever given. */
  readonly leastS: number;
  readonly mostS: number;
}

const EXPECTED: readonly Expected[] = [
  { kind: 'tcp4-idle', state: 'ESTABLISHED', leastS: 400_000, mostS: 432_000 },
  { kind: 'tcp4-half-closed-down', state: 'CLOSE_WAIT', leastS: 20, mostS: 60 },
  { kind: 'tcp4-half-closed-up', state: 'CLOSE_WAIT', leastS: 20, mostS: 60 },
  // Nothing refreshes it, so it may be about to go.
  { kind: 'tcp4-time-wait', state: 'TIME_WAIT', leastS: 0, mostS: 120 },
];

/** TIME_WAIT itself. Milliseconds since those flows were closed, after which they may be gone. */
const TIME_WAIT_MS = 110_000;

/**
 * How many flows of each kind have its state. An end that is late sends its FIN once more, to where the socket is gone:
 * the RST that comes back makes a TIME_WAIT a CLOSE, on a busy machine of some in fifty.
 */
export async function countStates(lab: Lab, fw: FirewallName): Promise<ReadonlyMap<string, number>> {
  const lines = await tcpLines(lab, fw);
  const count = ({ kind, state }: Expected) =>
    linesOf(lines, kind).filter((line) => line.includes(` ${state} `)).length;
  return new Map(EXPECTED.map((expected) => [expected.kind, count(expected)]));
}

const tcpLines = async (lab: Lab, fw: FirewallName): Promise<string[]> =>
  (await lab.exec(fw, ['conntrack', '-L', '-p', 'tcp'])).split('\n');
const linesOf = (lines: readonly string[], kind: string): string[] =>
  lines.filter((line) => line.includes(` dport=${kindOf(kind).port} `));

/** Shown of each kind. */
const SHOWN = 6;

/** Some flows of these kinds that a firewall's kernel has, for who wants to know why they are silent. */
export async function flowsOf(lab: Lab, fw: FirewallName, kinds: readonly string[]): Promise<string[]> {
  if (kinds.length === 0) return [];
  const rows = (await lab.exec(fw, ['conntrack', '-L'])).split('\n');
  return kinds.flatMap((name) => {
    const { port } = kindOf(name);
    const flows = rows.filter((row) => new RegExp(`port=${port} `).test(row));
    return [`--- ${fw} has ${flows.length} flows of ${name}`, ...flows.slice(0, SHOWN)];
  });
}

/** Sentences on what is not as it has to be; none when all is. `counts`: as they were when all was still. */
export async function wrongStates(
  lab: Lab,
  fw: FirewallName,
  counts: ReadonlyMap<string, number>,
  openedMs: number,
): Promise<string[]> {
  const lines = await tcpLines(lab, fw);
  const isGone = performance.now() - openedMs > TIME_WAIT_MS;
  return EXPECTED.filter(({ state }) => state !== 'TIME_WAIT' || !isGone).flatMap((expected) => {
    const { kind, state, leastS, mostS } = expected;
    const flows = linesOf(lines, kind);
    const count = counts.get(kind) ?? 0;
    const right = flows.filter((line) => {
      const [, leftS, found] = /^tcp +6 (\d+) (\S+) /.exec(line) ?? [];
      return found === state && Number(leftS) >= leastS && Number(leftS) <= mostS;
    });
    if (right.length === count) return [];
    const wrong = flows.find((line) => !right.includes(line)) ?? `there are ${flows.length}`;
    return [
      `${kind} on ${fw}: ${right.length} of ${count} are ${state} with ${leastS}..${mostS} s left: ${wrong}`,
    ];
  });
}
