/** Datagrams of the sync link that get lost on their way in, by nftables. */
import type { FirewallName, Lab } from './lab.js';

/** Drops this part of what arrives on a firewall's sync link, at random; 100 is a link that is deaf. */
export async function loseSyncFrames(lab: Lab, fw: FirewallName, percent: number): Promise<void> {
  // nft takes no number that is always true.
  const some = percent >= 100 ? '' : `numgen random mod 100 < ${percent} `;
  const rules = `
table inet lab-loss {
  chain in {
    type filter hook input priority -10;
    iifname "sync" meta l4proto udp ${some}counter drop
  }
}
`;
  await lab.exec(fw, ['nft', '-f', '-'], { input: rules });
}

/** How many datagrams the rule has dropped so far. */
export async function lostSyncFrames(lab: Lab, fw: FirewallName): Promise<number> {
  const text = await lab.exec(fw, ['nft', 'list', 'table', 'inet', 'lab-loss']);
  return Number(/counter packets (\d+)/.exec(text)?.[1] ?? Number.NaN);
}
