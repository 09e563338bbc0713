#!/bin/sh
# keepalived's notify script: TYPE NAME STATE PRIORITY. Install as /etc/keepalived/conntwin-notify.sh, root's, mode 0755.
#
# The FIFO (keepalived.conf) is the better way: no process is started, and the order of states is kept. Name this script
# once, in the vrrp_sync_group: in several instances their states would fight.
# keepalived does not repeat itself, so a call that fails is tried again for half a minute; and it does not wait for the
# script, so several may run at once: one at a time speaks to the daemon, and always of the newest state.
set -u
SOCKET=${CONNTWIN_SOCKET:-/run/conntwin/control.sock}
COMMAND=${CONNTWIN_COMMAND:-conntwin}
LOG=${CONNTWIN_LOG:-}
TRIES=30

say() {
  if [ -n "$LOG" ]; then
    echo "$(date -u +%FT%TZ) $1" >>"$LOG"
  else
    logger -t conntwin-notify "$1"
  fi
}

case ${3:-} in
MASTER) role=primary ;;
BACKUP | STOP | DELETED) role=backup ;;
FAULT) role=fault ;;
# Of no consequence for the role.
MASTER_RX_LOWER_PRI | MASTER_PRIORITY | BACKUP_PRIORITY) exit 0 ;;
*)
  echo "usage: $0 GROUP|INSTANCE NAME MASTER|BACKUP|FAULT|STOP|DELETED [PRIORITY]" >&2
  exit 2
  ;;
esac

# When keepalived started this script: clock ticks since this boot (proc(5), starttime), and the pid where two have the
# same. On a busy machine a script may be overtaken by one that was started after it.
ticks=$(sed 's/.*) //' /proc/$$/stat | cut -d ' ' -f 20)
boot=$(cat /proc/sys/kernel/random/boot_id)

# True if the role that the file names was wanted after the one that this script has come for.
is_overtaken() {
  read -r _ other_ticks other_pid other_boot 2>/dev/null <"$wanted" || return 1
  [ "$other_boot" = "$boot" ] || return 1
  { [ "$other_ticks" -gt "$ticks" ] || { [ "$other_ticks" -eq "$ticks" ] && [ "$other_pid" -gt $$ ]; }; } 2>/dev/null
}

# What is wanted now; a script that waits, or tries again, does what the newest one wants.
directory=$(dirname "$SOCKET")
wanted=$directory/notify.wanted
has_flock=$(command -v flock || true)
note_wanted() {
  exec 8>"$directory/notify.order" 9>"$directory/notify.lock" || return 1
  [ -n "$has_flock" ] && flock 8
  is_overtaken || { echo "$role $ticks $$ $boot" >"$wanted.$$" && mv -f "$wanted.$$" "$wanted"; } || return 1
  exec 8>&-
}
if [ -w "$directory" ] && note_wanted 2>/dev/null; then
  [ -n "$has_flock" ] && flock 9
else
  exec 8>&-
  say "cannot write into $directory: going on without order between calls"
  wanted=
fi
newest() { { [ -n "$wanted" ] && cut -d ' ' -f 1 "$wanted" 2>/dev/null; } || echo "$role"; }

while :; do
  role=$(newest)
  # The word splitting is meant: a command may have arguments.
  # shellcheck disable=SC2086
  text=$($COMMAND --socket "$SOCKET" failover "$role" 2>&1 9>&-)
  code=$?
  say "$1 ${2:-} $3: failover $role: exit $code: $(echo "$text" | tr '\n' ';')"
  case $code in
  # 0: done. 3: done, and the report says what is not as it should be, such as a replica that was not proven.
  0 | 3)
    [ "$(newest)" = "$role" ] && exit 0
    continue
    ;;
  # Another try will not help: a wrong command line.
  2) exit 2 ;;
  esac
  TRIES=$((TRIES - 1))
  if [ "$TRIES" -le 0 ]; then
    say "$role: given up, this node has NOT taken the role: run conntwin failover $role"
    exit "$code"
  fi
  sleep 1
done
