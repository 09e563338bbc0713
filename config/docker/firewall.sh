#!/bin/sh
# Runs in the firewall containers of docker-compose.yml: `start` (as the container's command) and `takeover`.
# Interfaces are found by address, since Docker names them in no fixed order.
set -eu
NAME=${NAME:?} NUMBER=${NUMBER:?}
device_of() { ip -4 -o addr show | awk -v a="$1/" 'index($4, a) == 1 { print $2 }'; }
LAN=$(device_of "10.1.0.$NUMBER")
WAN=$(device_of "10.2.0.$NUMBER")
SYNC=$(device_of "10.9.0.$NUMBER")

take_addresses() {
  ip addr add 10.1.0.254/16 dev "$LAN" 2>/dev/null || true
  ip addr add 10.2.0.254/16 dev "$WAN" 2>/dev/null || true
  # Tell the neighbours that the addresses live here now.
  arping -q -c 2 -U -I "$LAN" 10.1.0.254 || true
  arping -q -c 2 -U -I "$WAN" 10.2.0.254 || true
}

case ${1:-} in
start)
  nft -f - <<RULES
table inet filter {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    ct state invalid drop
    iifname "$LAN" ct state new accept
  }
  chain raw_in { type filter hook prerouting priority -300; iifname "$SYNC" notrack; }
  chain raw_out { type filter hook output priority -300; oifname "$SYNC" notrack; }
}
table ip edge_nat {
  chain post { type nat hook postrouting priority 100; oifname "$WAN" snat to 10.2.0.254; }
}
RULES
  mkdir -p /run/conntwin /etc/conntwin
  cat >/etc/conntwin/conntwin.yaml <<YAML
node: { name: $NAME, cluster: compose }
links: [ { interface: $SYNC, address: 10.9.0.$NUMBER, group: 225.0.0.50 } ]
security: none
YAML
  if [ "$NUMBER" = 1 ]; then
    take_addresses
    # 3: done, and there was nobody to take it from.
    (until conntwin failover primary || [ $? = 3 ]; do sleep 1; done) >/dev/null 2>&1 &
  fi
  exec conntwin daemon
  ;;
takeover)
  # 3: done, with something to know: the report says what.
  conntwin failover primary || [ $? = 3 ]
  take_addresses
  ;;
*)
  echo "usage: NAME=fw1 NUMBER=1 $0 start|takeover" >&2
  exit 2
  ;;
esac
