/** Counts the TCP resets that reach the lab's client and server. */
import type { Lab } from './lab.js';

const ENDS = ['client', 'server'] as const;
const RULESET = `table inet resets {
  counter seen { }
  chain incoming {
    type filter hook prerouting priority -400;
    tcp flags & rst == rst counter name seen
  }
}
`;

/** Counts from now on, or anew. */
export async function countResets(lab: Lab): Promise<void> {
  const input = `add table inet resets; delete table inet resets\n${RULESET}`;
  await Promise.all(ENDS.map((node) => lab.exec(node, ['nft', '-f', '-'], { input })));
}

/** Resets that came since then. */
export async function resetsSeen(lab: Lab): Promise<number> {
  const argv = ['nft', 'list', 'counter', 'inet', 'resets', 'seen'];
  const texts = await Promise.all(ENDS.map((node) => lab.exec(node, argv)));
  return texts.reduce((sum, text) => sum + Number(/packets (\d+)/.exec(text)?.[1] ?? Number.NaN), 0);
}
