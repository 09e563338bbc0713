/** Two firewalls with the rules, addresses and routes that every kind of traffic needs. */
import type { ClusterOptions } from '../firewall-cluster.js';
import { FirewallPair } from '../firewall-pair.js';
import { greAddress } from './kinds.js';
import { FREEZE_RULES, TRAFFIC_RULES } from './rules.js';

const STRICT = ['nf_conntrack_tcp_be_liberal', 'nf_conntrack_tcp_loose'];

/** Builds the lab with daemons for `count` connections of each kind. */
export async function trafficPair(count: number, options: ClusterOptions = {}): Promise<FirewallPair> {
  const pair = await FirewallPair.create({
    hasIpv6: true,
    ruleset: TRAFFIC_RULES,
    sharedAddresses: ['10.4.0.254/24 dev wan'],
    ...options,
  });
  const { lab } = pair;
  const gre = Array.from(
    { length: count },
    (_, number) => `ip address add ${greAddress(number)}/32 dev eth0`,
  );
  await lab.exec('client', ['sh', '-ec', gre.join('\n')]);
  const server = ['ip address add 10.4.0.100/24 dev eth0', 'ip route add 10.1.0.0/16 via 10.2.0.254'];
  await lab.exec('server', ['sh', '-ec', server.join('\n')]);
  const strict = STRICT.map((name) => `echo 0 > /proc/sys/net/netfilter/${name}`);
  for (const fw of ['fw1', 'fw2'] as const) await lab.exec(fw, ['sh', '-ec', strict.join('\n')]);
  return pair;
}

/** From here on nothing new passes a firewall. */
export async function freeze({ lab }: FirewallPair): Promise<void> {
  for (const fw of ['fw1', 'fw2'] as const) await lab.exec(fw, ['nft', '-f', '-'], { input: FREEZE_RULES });
}
