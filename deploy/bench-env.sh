#!/usr/bin/env bash
# test-env.sh for measuring: PostgreSQL writes through to the disk, and its folder is on one (/tmp may be memory).
#
#   bench-env.sh <command…>
#
# A broker is started if BENCH_PARTS, all parts if absent, has one that needs it: it would only take memory and time
# from the others.
set -euo pipefail
case ${BENCH_PARTS:-relay} in
  *relay*) kafka=on ;;
  *) kafka=off ;;
esac
export TEST_ENV_FSYNC=on TEST_ENV_KAFKA=${TEST_ENV_KAFKA:-$kafka} TEST_ENV_FOLDER=${TEST_ENV_FOLDER:-/var/tmp}
exec "$(dirname "${BASH_SOURCE[0]}")/test-env.sh" "$@"
