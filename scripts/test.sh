#!/usr/bin/env bash
# Runs every test of the release build: ctest, then the real clients through the gateway, then the
# Python package.
set -euo pipefail
cd "$(dirname "$0")/.."
ctest --preset release --output-on-failure
tests/clients/run.sh gateway
scripts/python.sh
tests/python/run.sh
