#!/usr/bin/env bash
# One Apache Kafka broker in KRaft mode on 127.0.0.1, for tests, benchmarks and a laptop.
#
#   broker.sh start <folder> <port>   formats the folder if it is new, starts, returns once the broker serves
#   broker.sh stop  <folder>          clean stop
#   broker.sh kill  <folder>          SIGKILL, as a crash would be; `start` brings it back with its records
#   broker.sh jars                    only fetches the jars
#
# The port after <port> is taken as well, for the controller. KAFKA_ADVERTISED_PORT is the port that clients are told,
# when they come through a proxy. Process id, log and data stand in <folder>.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lib=$here/lib
heap=${KAFKA_HEAP:-384m}

die() {
  echo "broker.sh: $*" >&2
  exit 1
}

# Fetches into a folder beside and renames it, so that `lib` is whole or absent; a changed pom fetches anew.
jars() {
  cmp -s "$here/pom.xml" "$lib/pom.xml" && return
  command -v mvn >/dev/null || die "Maven is missing; deploy/install.sh test installs it"
  local fresh
  fresh=$(mktemp -d "$here/lib.XXXXXX")
  # shellcheck disable=SC2064
  trap "rm -rf '$fresh'" EXIT
  echo "broker.sh: fetching Apache Kafka from Maven Central" >&2
  mvn -q -B -Dstyle.color=never -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$fresh" -DincludeScope=runtime >&2
  cp "$here/pom.xml" "$fresh/pom.xml"
  chmod 755 "$fresh"
  # Two starters may fetch at once: the first to rename wins, the other's copy is dropped.
  if ! cmp -s "$here/pom.xml" "$lib/pom.xml"; then
    rm -rf "$lib"
    mv -T "$fresh" "$lib" 2>/dev/null || cmp -s "$here/pom.xml" "$lib/pom.xml" || die "cannot write $lib"
  fi
  rm -rf "$fresh"
  trap - EXIT
}

# The process id of this folder's live broker, or nothing. The command line is compared, for an id may be used again.
running() {
  local pid
  pid=$(cat "$1/broker.pid" 2>/dev/null) || return 1
  # Z is a process that has ended and only waits to be asked for its exit code.
  [[ $(ps -p "$pid" -o stat= -o args= 2>/dev/null) == [!Z]*"$1/server.properties"* ]] || return 1
  echo "$pid"
}

settings() {
  cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$(($2 + 1))
listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$(($2 + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:${KAFKA_ADVERTISED_PORT:-$2}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$1/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
# A topic that is missing must be seen, not made with settings nobody chose.
auto.create.topics.enable=false
# A killed broker is let back in after its old session has ended: short, so that it serves again after 5 s.
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
PROPERTIES
}

java=(java "-Xmx$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=1
  "-Dlog4j2.configurationFile=$here/log4j2.properties" -cp "$lib/*")

start() {
  local folder=$1 port=$2 pid seen
  command -v java >/dev/null || die "Java is missing; deploy/install.sh test installs it"
  jars
  mkdir -p "$folder"
  folder=$(cd "$folder" && pwd)
  if pid=$(running "$folder"); then
    die "a broker already runs in $folder (process $pid)"
  fi
  settings "$folder" "$port" >"$folder/server.properties"
  touch "$folder/broker.log"

  if [ ! -f "$folder/data/meta.properties" ]; then
    # 16 random bytes in base64 for URLs; the fixed first character keeps it from looking like an option.
    local cluster
    cluster=C$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)
    "${java[@]}" kafka.tools.StorageTool format -t "$cluster" -c "$folder/server.properties" \
      >>"$folder/broker.log" 2>&1 || die "formatting failed: $(tail -n 5 "$folder/broker.log")"
  fi

  seen=$(wc -c <"$folder/broker.log")
  # Job control gives the broker a process group of its own: a terminal's Ctrl-C does not reach it.
  set -m
  "${java[@]}" kafka.Kafka "$folder/server.properties" </dev/null >>"$folder/broker.log" 2>&1 &
  pid=$!
  set +m
  echo "$pid" >"$folder/broker.pid"
  for ((tenth = 0; tenth < 900; tenth++)); do
    if ! kill -0 "$pid" 2>/dev/null; then
      rm -f "$folder/broker.pid"
      die "the broker ended while starting: $(tail -n 20 "$folder/broker.log")"
    fi
    # Said once the broker is registered, caught up and let in by the controller.
    if grep -q 'Kafka Server started' <(tail -c "+$((seen + 1))" "$folder/broker.log"); then
      return
    fi
    sleep 0.1
  done
  kill -KILL "$pid"
  rm -f "$folder/broker.pid"
  die "the broker did not serve within 90 s: $(tail -n 20 "$folder/broker.log")"
}

# Sends a signal, waits for the process to be gone, and after 30 s makes it so.
end() {
  local folder=$1 signal=$2 pid
  [ -d "$folder" ] || return 0
  folder=$(cd "$folder" && pwd)
  if pid=$(running "$folder"); then
    kill "-$signal" "$pid"
    for ((tenth = 0; tenth < 300; tenth++)); do
      running "$folder" >/dev/null || break
      sleep 0.1
    done
    ! running "$folder" >/dev/null || kill -KILL "$pid"
  fi
  rm -f "$folder/broker.pid"
}

case "${1:-} $#" in
  "start 3") start "$2" "$3" ;;
  "stop 2") end "$2" TERM ;;
  "kill 2") end "$2" KILL ;;
  "jars 1") jars ;;
  *)
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
