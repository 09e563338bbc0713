/** A table of flows of every protocol, family, NAT, mark and zone, made by Debian's conntrack(8). */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FirewallName, Lab } from './lab.js';

const ESTABLISHED = '--state ESTABLISHED -u SEEN_REPLY,ASSURED';

/** One kind of flow each; `n` makes them differ and is below 60,000. */
const KINDS: readonly ((n: number) => string)[] = [
  (n) => `-p tcp ${v4(n)} ${ports(n, 80)} ${ESTABLISHED} -m ${1 + n}`,
  (n) => `-p tcp ${v4(n)} ${ports(n, 81)} --state SYN_SENT`,
  (n) => `-p tcp ${v4(n)} ${ports(n, 82)} --state CLOSE_WAIT -u SEEN_REPLY`,
  (n) => `-p tcp ${v4(n)} ${ports(n, 83)} ${ESTABLISHED} --src-nat 10.2.0.254:${2000 + n}`,
  (n) => `-p tcp ${v4(n, '10.2.0.9')} ${ports(n, 84)} ${ESTABLISHED} --dst-nat 10.2.0.100:8080`,
  (n) => `-p tcp ${v4(n)} ${ports(n, 85)} --state ESTABLISHED -u SEEN_REPLY,ASSURED,FIXED_TIMEOUT`,
  (n) => `-p udp ${v4(n)} ${ports(n, 80)}`,
  (n) => `-p udp ${v4(n)} ${ports(n, 81)} -u SEEN_REPLY,ASSURED --src-nat 10.2.0.254:${2000 + n}`,
  (n) => `-p udplite ${v4(n)} ${ports(n, 80)} -u SEEN_REPLY`,
  (n) => `-p sctp ${v4(n)} ${ports(n, 80)} ${ESTABLISHED} --orig-vtag ${1 + n} --reply-vtag ${2 + n}`,
  (n) => `-p dccp ${v4(n)} ${ports(n, 80)} --state OPEN --role client -u SEEN_REPLY`,
  (n) => `-p icmp ${v4(n)} --icmp-type 8 --icmp-code 0 --icmp-id ${n} -u SEEN_REPLY`,
  // As a commit makes them: a GRE flow that the kernel did not see begin lives by a fixed timeout only.
  (n) => `-p gre ${v4(n)} --srckey ${1 + n} --dstkey ${2 + n} -u SEEN_REPLY,FIXED_TIMEOUT`,
  (n) => `-p 50 ${v4(n)}`,
  (n) => `-p tcp ${v4(n)} ${ports(n, 86)} ${ESTABLISHED} -w ${1 + (n % 1000)}`,
  (n) => `-p tcp ${v4(n)} ${ports(n, 87)} ${ESTABLISHED} --orig-zone ${1 + (n % 1000)}`,
  (n) => `-p tcp ${v4(n)} ${ports(n, 88)} ${ESTABLISHED} --reply-zone ${1 + (n % 1000)} -m 9`,
  (n) => `-p tcp ${v6(n)} ${ports(n, 80)} ${ESTABLISHED} -m ${1 + n}`,
  (n) => `-p udp ${v6(n)} ${ports(n, 80)} -u SEEN_REPLY`,
  (n) => `-p sctp ${v6(n)} ${ports(n, 80)} ${ESTABLISHED} --orig-vtag 1 --reply-vtag 2`,
  (n) => `-p icmpv6 ${v6(n)} --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id ${n} -u SEEN_REPLY`,
  (n) => `-p tcp ${v6(n)} ${ports(n, 81)} ${ESTABLISHED} -w 5`,
  (n) => `-p 50 ${v6(n)}`,
];

function v4(n: number, destination = '10.2.0.100'): string {
  return `-s 10.1.${64 + (n >> 8)}.${n & 255} -d ${destination}`;
}

function v6(n: number): string {
  return `-s fd00:1::${(0x1000 + n).toString(16)} -d fd00:2::100`;
}

function ports(n: number, destination: number): string {
  return `--sport ${1024 + n} --dport ${destination}`;
}

/** Creates `count` flows of all kinds in a firewall's kernel by one `conntrack -R`; throws if one is refused. */
export async function makeMixedTable(lab: Lab, fw: FirewallName, count: number): Promise<void> {
  const lines = Array.from({ length: count }, (_, n) => `-I -t 3000 ${KINDS[n % KINDS.length](n)}\n`);
  const file = join(lab.directory, 'mixed-table.save');
  writeFileSync(file, lines.join(''));
  await lab.exec(fw, ['conntrack', '-R', file]);
}
