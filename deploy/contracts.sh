#!/usr/bin/env bash
# Plays the demo with every role as a process over Kafka and checks what stands in the topics against the committed
# contracts, by public validators alone: kcat reads, Python's jsonschema and AsyncAPI's own schema judge.
#
#   deploy/test-env.sh deploy/contracts.sh     (make contracts)
#
# Exit code 0 if every record is valid, and if a record and a document made wrong on purpose are found out.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
"$here/install.sh" contracts

work=$(mktemp -d /tmp/colloquy-contracts.XXXXXX)
pids=()
clean_up() {
  set +e
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
  wait
  rm -rf "$work"
}
trap clean_up EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'jsonschema[format]==4.26.0'
(cd "$work" && npm pack --silent @asyncapi/specs@6.11.1 >/dev/null && tar xzf asyncapi-specs-*.tgz)
specification=$work/package/schemas/3.0.0.json

cd "$root"
cargo build --bin colloquy
colloquy=${CARGO_TARGET_DIR:-target}/debug/colloquy

prefix=contracts-$(basename "$work" | tr -d .)
database=contracts_$RANDOM$RANDOM
psql -q "$TEST_DATABASE_URL" -c "create database $database"
export DATABASE_URL=${TEST_DATABASE_URL%/*}/$database
export COLLOQUY_DATA_DIR=$work/data COLLOQUY_KAFKA__PREFIX=$prefix COLLOQUY_KAFKA__PUBLIC_TOPICS=true
COLLOQUY_SECRETS__MASTER_KEY=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')
COLLOQUY_OPERATOR__PASSWORD=Op-1$(od -An -tx1 -N12 /dev/urandom | tr -d ' \n')
export COLLOQUY_SECRETS__MASTER_KEY COLLOQUY_OPERATOR__PASSWORD COLLOQUY_OPERATOR__EMAIL=operator@platform.example
export COLLOQUY_HTTP__LISTEN=127.0.0.1:0 COLLOQUY_LIMITS__ENABLED=false
mkdir "$work/data"

"$colloquy" migrate
for role in serve relay project react; do
  "$colloquy" "$role" >"$work/$role.log" 2>&1 &
  pids+=($!)
done
address=
for ((tenth = 0; tenth < 600; tenth++)); do
  address=$(sed -nE '/.*"address":"([0-9.:]+)".*/{s//\1/p;q}' "$work/serve.log")
  [ -n "$address" ] && break
  sleep 0.1
done
COLLOQUY_OPERATOR_PASSWORD=$COLLOQUY_OPERATOR__PASSWORD \
  "$colloquy" demo --url "http://$address" --operator "$COLLOQUY_OPERATOR__EMAIL" | tail -n 1
# The relay is a moment behind: complete and nothing pending.
is_published=
for ((try = 0; try < 60; try++)); do
  "$colloquy" relay check >"$work/check" || { cat "$work/check" >&2; exit 1; }
  grep -q pending "$work/check" || { is_published=yes; break; }
  sleep 1
done
[ -n "$is_published" ] || { cat "$work/check" >&2; exit 1; }

broker=$KAFKA_BOOTSTRAP
# Every topic but that of the relay's own marks.
kcat -L -J -b "$broker" | python3 -c '
import json, sys
topics = [topic["topic"] for topic in json.load(sys.stdin)["topics"]]
print(*(t for t in topics if t.startswith(sys.argv[1] + ".") and not t.endswith(".relay.v1")), sep="\n")
' "$prefix" | while read -r topic; do
  kcat -C -J -e -q -b "$broker" -o beginning -X isolation.level=read_committed -t "$topic"
done >"$work/records"

validate() { "$work/venv/bin/python" schemas/validate.py --specification "$specification" --prefix "$prefix" "$@"; }
validate <"$work/records"

# A check that accepts everything proves nothing.
refused() {
  local what=$1
  shift
  if validate "$@" >"$work/refused" 2>&1; then
    echo "contracts.sh: $what was accepted" >&2
    exit 1
  fi
  # By what it found, and not by falling over.
  grep -q '^PROBLEM' "$work/refused" || { cat "$work/refused" >&2; exit 1; }
  echo "refused as it must be: $what ($(grep -c '^PROBLEM' "$work/refused") problems)"
}
one=$work/one
grep -m 1 interview.question_asked "$work/records" >"$one"
refused "a record without a required member" < <(sed 's/\\"sequence\\"/\\"sequel\\"/' "$one")
refused "a record of an unknown type" < <(sed 's/question_asked/question_mumbled/g' "$one")
refused "a record with a malformed header" < <(sed -E 's/("ce_position",")/\1x/' "$one")
refused "a record that names another schema" < <(sed 's/question_asked.v1.json/question_asked.v2.json/' "$one")
cp -r schemas "$work/schemas"
sed -i 's/"action": "send"/"action": "shout"/' "$work/schemas/asyncapi.json"
refused "a document that is no AsyncAPI" --schemas "$work/schemas" <"$one"
