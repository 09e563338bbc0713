/** What every kind of traffic needs of a lab: rules, addresses and routes. */
import type { Lab, LabOptions } from '../lab.js';
import { FTP_INSIDE4, greAddress, MASQUERADED4, MASQUERADED6 } from './kinds.js';
import { FREEZE_RULES, TRAFFIC_RULES } from './rules.js';

/** The addresses that masquerading takes: the only ones of the firewalls in their networks. */
export const MASQUERADE_ADDRESSES = ['10.4.0.254/24', 'fd00:4::254/64'];

export const TRAFFIC_LAB: LabOptions = {
  hasIpv6: true,
  ruleset: TRAFFIC_RULES,
  sharedAddresses: MASQUERADE_ADDRESSES.map(
    (address) => `${address} dev wan${address.includes(':') ? ' nodad' : ''}`,
  ),
};

const SETTINGS = {
  nf_conntrack_tcp_be_liberal: 0,
  nf_conntrack_tcp_loose: 0,
  // A TFTP request is answered from another port, so its own flow stays unanswered, and ends with what it expects. A
  // round after which it is used takes a crowded machine longer than the usual 30 s.
  nf_conntrack_udp_timeout: 120,
};

/** Prepares a lab that was made with TRAFFIC_LAB for `count` connections of each kind. */
export async function prepareTraffic(lab: Lab, count: number): Promise<void> {
  const gre = Array.from({ length: count }, (_, number) => greAddress(number));
  const client = [...gre, FTP_INSIDE4].map((address) => `ip address add ${address}/32 dev eth0`);
  await lab.exec('client', ['sh', '-ec', client.join('\n')]);
  const server = [
    `ip address add ${MASQUERADED4}/24 dev eth0`,
    `ip address add ${MASQUERADED6}/64 dev eth0 nodad`,
    'ip route add 10.1.0.0/16 via 10.2.0.254',
  ];
  await lab.exec('server', ['sh', '-ec', server.join('\n')]);
  const settings = Object.entries(SETTINGS).map(([k, v]) => `echo ${v} > /proc/sys/net/netfilter/${k}`);
  for (const fw of ['fw1', 'fw2'] as const) await lab.exec(fw, ['sh', '-ec', settings.join('\n')]);
}

/** From here on nothing new passes a firewall. */
export async function freeze(lab: Lab): Promise<void> {
  for (const fw of ['fw1', 'fw2'] as const) await lab.exec(fw, ['nft', '-f', '-'], { input: FREEZE_RULES });
}
