#!/usr/bin/env bash
# Builds the Python package out of build/release, so that nothing is compiled twice, and installs it in build/python/venv.
# PYTHON: the interpreter it is for, default python3; with another version the environment is made anew.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=build/python/venv
dist=build/python/dist
python=${PYTHON:-python3}
version='import sys; print(sys.version_info[:2])'
[[ $("$venv/bin/python" -c "$version" 2>&1) == $("$python" -c "$version") ]] || "$python" -m venv --clear "$venv"
pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)
"${pip[@]}" install "scikit-build-core>=0.11" "nanobind>=2.4"
# What else the folder is configured to build stays so.
settings=(--config-settings=build-dir=build/release)
for option in SOLLOL_BUILD_TESTS SOLLOL_BUILD_BENCH; do
  ! grep -qs "^$option:BOOL=ON" build/release/CMakeCache.txt ||
    settings+=("--config-settings=cmake.define.$option=ON")
done
rm -rf "$dist"
"${pip[@]}" wheel --no-deps --no-build-isolation "${settings[@]}" --wheel-dir "$dist" .
"${pip[@]}" install --force-reinstall --no-deps "$dist"/*.whl
echo "python: $(basename "$dist"/*.whl) is in $dist and installed in $venv"
