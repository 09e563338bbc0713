#!/bin/sh
# rooted.sh COMMAND...: runs the command where it may make network namespaces: as root right here, otherwise as root
# of an unprivileged user namespace with a /run of its own, so that `ip netns` works.
[ "$(id -u)" = 0 ] && exec "$@"
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
if ! unshare -Urnm true 2>/dev/null; then
  echo 'lab: needs root, or unprivileged user namespaces (unshare -Urnm true fails here): run it by sudo' >&2
  exit 1
fi
exec unshare -Urnm sh -c 'mount -t tmpfs tmpfs /run && mkdir /run/netns && exec "$@"' rooted "$@"
