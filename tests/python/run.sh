#!/usr/bin/env bash
# Tests of the Python package as it is installed in build/python/venv (scripts/python.sh). Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=build/python/venv/bin/python
"$python" -m pip --disable-pip-version-check --quiet install --requirement tests/python/requirements.txt
export SOLLOL_BIN=${SOLLOL_BIN:-$PWD/build/release/src/cli/sollol}
exec timeout 600 "$python" -B -m pytest -q -p no:cacheprovider -p no:asyncio --tb=short tests/python "$@"
