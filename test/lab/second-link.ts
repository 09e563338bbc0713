/** More sync links for a lab, and ways to break one of them. */
import type { FirewallName, Lab } from './lab.js';

/** A second cable between fw1 and fw2, `sync2`, with IPv6 addresses fd00:9::1 and fd00:9::2. */
export async function addSecondCable(lab: Lab): Promise<void> {
  const peer = lab.namespace('fw2');
  await lab.exec('fw1', [
    'ip',
    'link',
    'add',
    'sync2',
    'type',
    'veth',
    'peer',
    'name',
    'sync2',
    'netns',
    peer,
  ]);
  for (const fw of ['fw1', 'fw2'] as const) {
    await addIpv6(lab, fw, 'sync2');
    await lab.exec(fw, ['nft', '-f', '-'], { input: rulesFor('sync2') });
  }
}

/** Gives a firewall's interface its IPv6 address fd00:9::N, usable at once, and sets it up. */
export async function addIpv6(lab: Lab, fw: FirewallName, device: string): Promise<void> {
  const number = lab.firewalls.indexOf(fw) + 1;
  await lab.exec(fw, ['ip', 'address', 'add', `fd00:9::${number}/64`, 'dev', device, 'nodad']);
  await lab.exec(fw, ['ip', 'link', 'set', device, 'up']);
}

const rulesFor = (device: string) => `
add rule inet filter input iifname "${device}" accept
add rule inet filter untracked-in iifname "${device}" notrack
add rule inet filter untracked-out oifname "${device}" notrack
`;

/** Drops what comes to a firewall on an interface by IPv4, and says nothing: the cable looks well. */
export async function dropIpv4(lab: Lab, fw: FirewallName, device: string): Promise<void> {
  const input = `add table inet cut
add chain inet cut in { type filter hook prerouting priority -400; }
add rule inet cut in iifname "${device}" meta nfproto ipv4 drop
`;
  await lab.exec(fw, ['nft', '-f', '-'], { input });
}

/** Ends dropIpv4. */
export async function undrop(lab: Lab, fw: FirewallName): Promise<void> {
  await lab.exec(fw, ['nft', 'delete', 'table', 'inet', 'cut']);
}
