#!/usr/bin/env bash
# Runs a command beside a PostgreSQL and a Kafka broker of its own, and leaves nothing behind.
#
#   test-env.sh <command…>
#
# The command finds TEST_DATABASE_URL (a superuser, database `postgres`) and KAFKA_BOOTSTRAP (host:port) in its
# environment, and its exit code is this script's. What is set already is used and not started.
#
#   TEST_ENV_FSYNC=on      PostgreSQL writes through to the disk (default off: a test's data need not outlive power)
#   TEST_ENV_KAFKA=off     starts no broker
#   TEST_ENV_FOLDER=/path  where the temporary folder is made (default /tmp)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
fsync=${TEST_ENV_FSYNC:-off}
kafka=${TEST_ENV_KAFKA:-on}

if [ $# -eq 0 ]; then
  sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi

"$here/install.sh" test

work=$(mktemp -d "${TEST_ENV_FOLDER:-/tmp}/colloquy-env.XXXXXX")
command_pid=

# PostgreSQL refuses to run as root; the folder is made passable for the user it runs as instead.
as_server=()
if [ "$(id -u)" = 0 ]; then
  as_server=(runuser -u postgres --)
  chmod 711 "$work"
fi

pg_bin() {
  local folder newest=
  if command -v initdb >/dev/null && command -v pg_ctl >/dev/null; then
    dirname "$(readlink -f "$(command -v initdb)")"
    return
  fi
  for folder in $(pg_config --bindir 2>/dev/null) $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V); do
    [ -x "$folder/pg_ctl" ] && [ -x "$folder/initdb" ] && newest=$folder
  done
  echo "$newest"
}
pg=$(pg_bin)/pg_ctl

clean_up() {
  # Whatever fails here must not keep the rest from being stopped, and no second signal may cut it short.
  set +e
  trap '' INT TERM HUP
  if [ -n "$command_pid" ]; then
    kill -TERM -- "-$command_pid" 2>/dev/null
    for ((tenth = 0; tenth < 100; tenth++)); do
      kill -0 -- "-$command_pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL -- "-$command_pid" 2>/dev/null
  fi
  [ -d "$work/kafka" ] && "$here/kafka/broker.sh" stop "$work/kafka"
  if [ -f "$work/pg/data/postmaster.pid" ]; then
    "${as_server[@]}" "$pg" -D "$work/pg/data" -m immediate -w stop >/dev/null
  fi
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# A port such that it and the next are free now; below the range from which outgoing connections take theirs.
free_port() {
  local port
  for ((try = 0; try < 100; try++)); do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 6000 * 2))
    if ! (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && ! (: <>"/dev/tcp/127.0.0.1/$((port + 1))") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
  echo "test-env.sh: no free port found" >&2
  return 1
}

start_postgres() {
  local port
  mkdir "$work/pg"
  [ "$(id -u)" != 0 ] || chown postgres "$work/pg"
  # Run from there: the user it runs as need not be able to enter the present folder.
  cd "$work/pg"
  "${as_server[@]}" "$(dirname "$pg")/initdb" -D "$work/pg/data" -U app -A trust --no-sync \
    --encoding=UTF8 --locale=C --lc-ctype=C.UTF-8 >"$work/initdb.log" 2>&1 || {
    cat "$work/initdb.log" >&2
    return 1
  }
  for ((try = 0; try < 5; try++)); do
    port=$(free_port)
    if "${as_server[@]}" "$pg" -D "$work/pg/data" -l "$work/pg/log" -w -t 60 start -o "-p $port -k $work/pg \
        -c listen_addresses=127.0.0.1 -c max_connections=300 -c fsync=$fsync -c log_min_messages=warning" >/dev/null; then
      export TEST_DATABASE_URL="postgres://app@127.0.0.1:$port/postgres"
      cd "$OLDPWD"
      return
    fi
  done
  tail -n 20 "$work/pg/log" >&2
  return 1
}

start_kafka() {
  local port
  # Apart from the tries below, which are for a port that somebody else took.
  "$here/kafka/broker.sh" jars
  for ((try = 0; try < 3; try++)); do
    port=$(free_port)
    if "$here/kafka/broker.sh" start "$work/kafka" "$port"; then
      export KAFKA_BOOTSTRAP="127.0.0.1:$port"
      return
    fi
  done
  return 1
}

[ -n "${TEST_DATABASE_URL:-}" ] || start_postgres
[ -n "${KAFKA_BOOTSTRAP:-}" ] || [ "$kafka" = off ] || start_kafka

# At a terminal the command stays in the foreground, so that it can read it and a Ctrl-C reaches it as usual. Else it
# runs beside this shell in a process group of its own: a signal to the shell alone then ends all of it at once.
if [ -t 0 ]; then
  "$@" && code=0 || code=$?
else
  set -m
  "$@" <&0 &
  command_pid=$!
  set +m
  wait "$command_pid" && code=0 || code=$?
fi
exit "$code"
