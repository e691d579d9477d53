#!/usr/bin/env bash
# Runs every test of the release build: ctest, then the real clients through the gateway, then the
# Python package.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! ctest --preset release --output-on-failure; then
  echo "What failed, again:"
  grep -hE -A 6 '^\[  FAILED  \] [^ ]+ \(|: Failure$' build/release/Testing/Temporary/LastTest.log
  exit 1
fi
tests/clients/run.sh gateway
scripts/python.sh
tests/python/run.sh
