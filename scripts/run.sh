#!/usr/bin/env bash
# Starts the gateway on the nodes in NODES (URLs, separated by blanks), on those that sollol.toml, the node file or
# OLLAMA_HOST name, or, when there are none, on a simulated fleet. Further arguments go to `sollol up`.
set -euo pipefail
cd "$(dirname "$0")/.."
nodes=()
for url in ${NODES:-}; do nodes+=(--node "$url"); done
exec build/release/src/cli/sollol up --demo "${nodes[@]}" "$@"
