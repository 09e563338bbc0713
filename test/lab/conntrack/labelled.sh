#!/bin/sh
# labelled.sh COMMAND...: runs the command where /etc/xtables/connlabel.conf names some labels. Nobody else sees that
# file: the command has a mount namespace of its own.
exec unshare -m sh -ec '
  mount -t tmpfs tmpfs /mnt
  cp -a /etc /mnt/ 2>/dev/null || true
  mkdir -p /mnt/etc/xtables
  printf "0 zero\n5 five\n6 six\n127 top\n" > /mnt/etc/xtables/connlabel.conf
  mount --bind /mnt/etc /etc
  exec "$@"' labelled "$@"
