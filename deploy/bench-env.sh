#!/usr/bin/env bash
# test-env.sh for measuring: PostgreSQL writes through to the disk, and its folder is on one (/tmp may be memory).
#
#   bench-env.sh <command…>
set -euo pipefail
export TEST_ENV_FSYNC=on TEST_ENV_KAFKA=${TEST_ENV_KAFKA:-off} TEST_ENV_FOLDER=${TEST_ENV_FOLDER:-/var/tmp}
exec "$(dirname "${BASH_SOURCE[0]}")/test-env.sh" "$@"
