#!/usr/bin/env bash
# Makes cmake/relay.profdata anew: what the gateway does while it relays, by which release builds lay out and
# inline its hot code. Builds an instrumented gateway, puts every variant of the relay benchmark through it, and
# keeps the functions that ran often. Needs: scripts/install-deps.sh test, and the package llvm-19.
# Takes ten minutes. Worth it after changes to the hot path; a function that changed since is built as without.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=/usr/lib/llvm-19/bin
[[ -x $tools/llvm-profdata ]] || { echo "llvm-profdata is missing: apt-get install llvm-19" >&2; exit 2; }
folder=build/profile
cmake -S . -B $folder -G Ninja -DCMAKE_CXX_COMPILER=clang++-19 -DCMAKE_BUILD_TYPE=Release -DSOLLOL_PROFILE=generate \
  -DSOLLOL_BUILD_TESTS=OFF -DSOLLOL_BUILD_BENCH=ON -DSOLLOL_BUILD_PYTHON=OFF
cmake --build $folder --target sollol relay_origin relay_load
rm -rf $folder/raw
LLVM_PROFILE_FILE=$PWD/$folder/raw/%p.profraw python3 bench/relay/run.py --ablate --rounds 1 --relays sollol \
  --sollol $folder/src/cli/sollol --tools $folder/bench/relay
$tools/llvm-profdata merge --text --sparse -o $folder/all.txt $folder/raw/*.profraw
python3 scripts/hot_functions.py $folder/all.txt >$folder/hot.txt
$tools/llvm-profdata merge -o cmake/relay.profdata $folder/hot.txt
ls -l cmake/relay.profdata
