#!/bin/sh
# Makes a fresh machine ready for the demo, the tests and the benchmarks; does nothing, fast, when it is ready.
#   npm packages: as locked, without install scripts, when node_modules is missing or older than the lock file
#   Debian packages: by apt-get, as root and only what is missing; otherwise one line says what to install
set -u
cd "$(dirname "$0")/../.." || exit 1
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

fail() {
  echo "setup: $1" >&2
  exit 1
}

# Runs a command quietly; shows the end of what it said only if it fails.
quietly() {
  log=$(mktemp) || fail 'no room for a temporary file in /tmp: free some'
  if "$@" >"$log" 2>&1; then
    rm -f "$log"
    return 0
  fi
  tail -n 15 "$log" >&2
  rm -f "$log"
  return 1
}

has() { command -v "$1" >/dev/null 2>&1; }

missing_packages() {
  has ip || echo iproute2
  has nft || echo nftables
  has conntrack || echo conntrack
  has conntrackd || echo conntrackd
  has keepalived || echo keepalived
  has ping || echo iputils-ping
  has ps || echo procps
  [ -e /usr/include/linux/netfilter/nfnetlink_conntrack.h ] || echo linux-libc-dev
}

has node || fail 'node is missing: install Node.js 20.19 or newer'
node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' ||
  fail "node $(node --version) is too old: install Node.js 20.19 or newer"

stamp=node_modules/.package-lock.json
if [ ! -e "$stamp" ] || [ -n "$(find package-lock.json -newer "$stamp")" ]; then
  has npm || fail 'npm is missing: install it (it comes with Node.js)'
  echo 'setup: npm ci' >&2
  quietly npm ci --ignore-scripts --no-audit --no-fund || fail 'npm ci failed (above): is the registry reachable?'
  touch "$stamp"
fi

missing=$(missing_packages | tr '\n' ' ')
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! has apt-get; then
  fail "missing: ${missing}(names of Debian packages): install them, for example as root: apt-get install $missing"
fi
echo "setup: apt-get install $missing" >&2
# RUNLEVEL=1 keeps the packages from starting their services on this machine.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
quietly apt-get -qq update || fail 'apt-get update failed (above)'
# The word splitting is meant.
# shellcheck disable=SC2086
quietly apt-get -qq install --no-install-recommends $missing || fail 'apt-get install failed (above)'
still=$(missing_packages | tr '\n' ' ')
[ -z "$still" ] || fail "still missing after the installation: $still"
