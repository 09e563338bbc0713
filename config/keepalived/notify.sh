#!/bin/sh
# keepalived's notify script: TYPE NAME STATE PRIORITY. Install as /etc/keepalived/conntwin-notify.sh, mode 0755.
#
# The group of all instances is named here (notify on the vrrp_sync_group), or states of several instances fight.
# keepalived does not repeat itself: a call that fails is tried for ten seconds.
set -u
SOCKET=${CONNTWIN_SOCKET:-/run/conntwin/control.sock}
LOG_TAG=conntwin-notify

case ${3:-} in
MASTER) role=primary ;;
BACKUP | STOP) role=backup ;;
FAULT) role=fault ;;
*)
  echo "usage: $0 TYPE NAME MASTER|BACKUP|FAULT|STOP [PRIORITY]" >&2
  exit 2
  ;;
esac

tries=10
while :; do
  text=$(conntwin --socket "$SOCKET" failover "$role" 2>&1)
  code=$?
  logger -t "$LOG_TAG" "$role: exit $code: $text"
  # 0: done. 3: done, from a source that was silent or suspect: that is what a failover usually is.
  case $code in 0 | 3) exit 0 ;; esac
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || exit "$code"
  sleep 1
done
