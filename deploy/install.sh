#!/usr/bin/env bash
# Installs the system packages that are missing, and only those.
#
#   install.sh build   what compiling needs
#   install.sh run     that, and PostgreSQL
#   install.sh test    that, and what runs and reads a Kafka broker
#   install.sh chaos   that, and what fakes clocks
#   install.sh contracts  what `test` installs, and what public validators are installed with
#
# On Debian and its relatives, as root or with sudo, it installs; elsewhere it prints the command and fails.
set -euo pipefail

has() { command -v "$1" >/dev/null; }

has_postgres() {
  local folder
  for folder in $(pg_config --bindir 2>/dev/null) /usr/lib/postgresql/*/bin "$(dirname "$(command -v postgres || echo /)")"; do
    [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ] && return
  done
  return 1
}

missing=()
# need <debian package> <command that succeeds when it is there…>
need() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

has_compilers() { has cc && has c++ && has make; }

build() {
  need build-essential has_compilers
  need cmake has cmake
  need pkg-config has pkg-config
  need libssl-dev pkg-config --exists openssl
  need zlib1g-dev pkg-config --exists zlib
  # librdkafka includes its headers even when it is built without it.
  need libcurl4-openssl-dev pkg-config --exists libcurl
}

run() {
  build
  need postgresql has_postgres
}

test_() {
  run
  need openjdk-17-jre-headless has java
  need maven has mvn
  need kcat has kcat
  need procps has ps
  # The clients of the GraphQL protocols, and their audit suite.
  need npm has npm
  # The second verifier of exports is checked against the first.
  need python3 has python3
}

contracts() {
  test_
  need python3-venv python3 -c 'import ensurepip, venv'
  need postgresql-client has psql
}

chaos() {
  test_
  need faketime has faketime
}

case "${1:-}" in
  build) build ;;
  run) run ;;
  test) test_ ;;
  chaos) chaos ;;
  contracts) contracts ;;
  *)
    sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac

# The compiler is pinned by rust-toolchain.toml, which distributions do not follow.
if ! has cargo; then
  echo "install.sh: cargo is missing; install it with rustup, see https://rustup.rs" >&2
  exit 1
fi

[ ${#missing[@]} -gt 0 ] || exit 0

root=()
[ "$(id -u)" = 0 ] || root=(sudo)
install=(apt-get install -y --no-install-recommends "${missing[@]}")
if ! has apt-get; then
  echo "install.sh: missing: ${missing[*]} (names of Debian)" >&2
  if has brew; then
    echo "install.sh: run: brew install cmake pkg-config openssl@3 postgresql@17 openjdk@17 maven kcat" >&2
  else
    echo "install.sh: install them with this system's package manager, then start again" >&2
  fi
  exit 1
fi
if [ ${#root[@]} -gt 0 ] && ! { has sudo && sudo -v; }; then
  echo "install.sh: run as root: apt-get update && ${install[*]}" >&2
  exit 1
fi

echo "install.sh: installing ${missing[*]}" >&2
as_root() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive "$@"; }
as_root apt-get update -q >&2

# Debian's package makes and starts a server of its own that nobody here asked for: switched off while it installs.
if [[ " ${missing[*]} " == *" postgresql "* ]]; then
  as_root apt-get install -y -q --no-install-recommends postgresql-common >&2
  conf=/etc/postgresql-common/createcluster.conf
  kept=$(mktemp)
  cp "$conf" "$kept"
  trap 'as_root cp "$kept" "$conf"; rm -f "$kept"' EXIT
  as_root sed -i -E "s/^#?[[:space:]]*create_main_cluster.*/create_main_cluster = false/" "$conf"
fi
as_root "${install[@]}" >&2
