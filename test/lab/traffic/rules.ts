/**
 * The rules of both firewalls for the kinds of traffic. After `FREEZE_RULES` nothing new passes, so a flow that is not
 * in the table, or is there with a wrong address, mark, label or zone, is silent for good. The rule for related SIP is
 * what a registration needs after a failover: a call that comes by an expectation which was created by netlink has no
 * helper, whatever the request said (seen with Linux 6.18).
 */
import {
  FTP_INSIDE4,
  INSIDE4,
  INSIDE6,
  KINDS,
  type Kind,
  kindOf,
  SHARED4,
  SHARED6,
  usesIpv6,
} from './kinds.js';
import { MEDIA_PORTS } from './sip-media.js';

export const MARK = 0x77;
export const LABEL = 9;
export const ZONE = 7;

const port = (name: string): number => kindOf(name).port;
/** A set of the ports of all kinds that are so. */
const portsOf = (isSo: (kind: Kind) => boolean): string =>
  `{ ${KINDS.filter(isSo)
    .map((kind) => kind.port)
    .join(', ')} }`;
const plays = (protocol: Kind['protocol'], start: string): string =>
  portsOf((kind) => kind.protocol === protocol && kind.play.startsWith(start));

/** Destination translation for all that is opened from outside. */
function destinationRules(family: 4 | 6): string[] {
  const isOf = (kind: Kind) => kind.opener === 'outside' && usesIpv6(kind) === (family === 6);
  return KINDS.filter(isOf).map(({ protocol, play, target, port, servicePort }) => {
    const inside4 = play.startsWith('ftp') ? FTP_INSIDE4 : INSIDE4;
    const to = family === 6 ? `[${INSIDE6}]:${servicePort}` : `${inside4}:${servicePort}`;
    return `ip${family === 6 ? '6' : ''} daddr ${target} ${protocol} dport ${port} dnat to ${to}`;
  });
}

/** Rules that only let the kind's packets through while the flow has what the rule at its birth gave it. */
function keptRules(name: string, has: string): string {
  const number = port(name);
  return `
    ct state established tcp dport ${number} ${has} accept
    ct state established tcp sport ${number} ${has} accept
    ct state established tcp dport ${number} drop
    ct state established tcp sport ${number} drop`;
}

/** One rule of it must stand for the kernel to go on adjusting the timestamps of the flows it has opened. */
const SYNPROXY = 'synproxy mss 1460 wscale 7 timestamp sack-perm';

export const TRAFFIC_RULES = `
table inet filter {
  chain forward {
    type filter hook forward priority 0; policy drop;
    jump proxied
    ip daddr 192.0.2.1 ct state untracked ${SYNPROXY}
    ct state invalid counter drop${keptRules('tcp4-mark', `ct mark ${MARK}`)}${keptRules('tcp4-label', `ct label ${LABEL}`)}
    ct state established,related accept
    udp dport { ${port('udp4-one-way-up')}, ${port('tftp')} } ct mark ${MARK} accept
    ct state new jump openings
    counter
  }
  chain proxied {
    tcp dport ${port('tcp4-synproxy')} ct state invalid,untracked ${SYNPROXY}
  }
  chain openings {
    iifname "lan" accept
    ct status dnat accept
  }
  chain one-way {
    type filter hook prerouting priority -150;
    udp dport { ${port('udp4-one-way-up')}, ${port('tftp')} } ct mark set ${MARK}
  }
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iifname { "lo", "sync" } accept
    ip protocol { icmp, vrrp } accept
    ip6 nexthdr { icmpv6, vrrp } accept
  }
  ct helper ftp { type "ftp" protocol tcp; }
  ct helper tftp { type "tftp" protocol udp; l3proto ip; }
  ct helper sip { type "sip" protocol udp; }
  ct helper sip-tcp { type "sip" protocol tcp; }
  chain births {
    type filter hook prerouting priority -150;
    ct state new tcp dport ${plays('tcp', 'ftp')} ct helper set "ftp"
    ct state new udp dport ${plays('udp', 'tftp')} ct helper set "tftp"
    ct state new udp dport ${plays('udp', 'sip')} ct helper set "sip"
    ct state related ct helper "sip" udp dport != ${MEDIA_PORTS} ct helper set "sip"
    ct state new tcp dport ${plays('tcp', 'sip')} ct helper set "sip-tcp"
    ct state new tcp dport ${port('tcp4-mark')} ct mark set ${MARK}
    ct state new tcp dport ${port('tcp4-label')} ct label set ${LABEL}
  }
  chain zones {
    type filter hook prerouting priority -300;
    iifname "lan" tcp dport ${port('tcp4-zone')} ct zone set ${ZONE}
    iifname "wan" tcp sport ${port('tcp4-zone')} ct zone set ${ZONE}
    iifname "lan" tcp dport ${port('tcp4-zone-original')} ct original zone set ${ZONE}
    tcp dport ${port('tcp4-synproxy')} tcp flags syn notrack
  }
  chain untracked-in { type filter hook prerouting priority -300; iifname "sync" notrack; meta l4proto vrrp notrack; }
  chain untracked-out { type filter hook output priority -300; oifname "sync" notrack; meta l4proto vrrp notrack; }
}
table ip nat {
  chain pre {
    type nat hook prerouting priority -100;
    ${destinationRules(4).join('\n    ')}
  }
  chain post {
    type nat hook postrouting priority 100;
    oifname "lan" tcp dport ${port('tcp4-dnat-snat')} snat to 10.1.0.254
    oifname "wan" ip protocol gre accept
    oifname "wan" tcp dport ${port('tcp4-masquerade')} masquerade
    oifname "wan" udp dport ${port('udp4-masquerade')} masquerade
    oifname "wan" ip saddr 10.1.0.0/16 snat to ${SHARED4}
  }
}
table ip6 nat {
  chain pre {
    type nat hook prerouting priority -100;
    ${destinationRules(6).join('\n    ')}
  }
  chain post {
    type nat hook postrouting priority 100;
    oifname "wan" tcp dport ${portsOf((kind) => kind.isRouted === true)} accept
    oifname "wan" tcp dport ${port('tcp6-masquerade')} masquerade
    oifname "wan" ct status expected accept
    oifname "wan" ip6 saddr fd00:1::/64 snat to ${SHARED6}
  }
}
`;

/**
 * Nothing new passes any more; what is expected still does. A flow that nobody answers is new for ever: those are known
 * by the mark that they got before. Nor does SYNPROXY open anything: all namespaces have one secret for SYN cookies, and
 * a segment of an echo, which acknowledges as much as was sent, would pass for the end of a handshake.
 */
export const FREEZE_RULES = ['openings', 'one-way', 'proxied']
  .map((chain) => `flush chain inet filter ${chain}\n`)
  .join('');
