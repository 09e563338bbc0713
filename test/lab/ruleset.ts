/** The nftables rules of a lab firewall: strict, so that a flow which is missing or wrong breaks its connection. */

/** The address that both firewalls take turns to have on each side, and that SNAT writes. */
export const INSIDE_GATEWAY = '10.1.0.254';
export const OUTSIDE_ADDRESS = '10.2.0.254';
export const INSIDE_GATEWAY6 = 'fd00:1::254';
export const OUTSIDE_ADDRESS6 = 'fd00:2::254';

/**
 * Established and related pass, new only from inside, invalid is dropped; the sync link is not tracked, nor is VRRP (SNAT
 * would translate its adverts, and VRRP 3 has the addresses in its checksum). The nat
 * chains of both families must exist or an injected NAT flow is never translated, and the label rule must, or the
 * kernel drops labels without a word; it labels pings.
 */
export const FIREWALL_RULESET = `
table inet filter {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    ct state invalid drop
    iifname "lan" ct state new accept
  }
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iifname { "lo", "sync" } accept
    ip protocol { icmp, vrrp } accept
    ip6 nexthdr icmpv6 accept
  }
  chain labels {
    type filter hook prerouting priority -150;
    ip protocol icmp ct label set 7
  }
  chain untracked-in { type filter hook prerouting priority -300; iifname "sync" notrack; meta l4proto vrrp notrack; }
  chain untracked-out { type filter hook output priority -300; oifname "sync" notrack; meta l4proto vrrp notrack; }
}
table ip nat {
  chain post { type nat hook postrouting priority 100; oifname "wan" snat to ${OUTSIDE_ADDRESS}; }
}
table ip6 nat {
  chain post { type nat hook postrouting priority 100; }
}
`;
