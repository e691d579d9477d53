#!/usr/bin/env bash
# Real clients against SOLLOL. Usage: tests/clients/run.sh [gateway|node]
#
#   gateway   (default) simulated nodes, the gateway in front of them, every suite against the gateway
#   node      every suite against one simulated node: what passes here must pass through the gateway
#
# SOLLOL_URL   a server that is already running: nothing is started. SOLLOL_GATEWAY=1 says that it is a gateway
# SOLLOL_BROKEN_URL   with it: where the model whose streams break off is; default SOLLOL_URL
# SOLLOL_BIN   the program under test, default build/release/src/cli/sollol
#
# The clients are installed under build/clients, once for each state of the requirement files.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/build/clients
bin=${SOLLOL_BIN:-$root/build/release/src/cli/sollol}
mode=${1:-gateway}
start_limit_s=30
children=()
nodes=()

fail() {
  echo "clients: $*" >&2
  exit 1
}

# Runs `install` unless the stamp beside it says that these files were installed before.
install_once() {  # name, install command, files...
  local name=$1 install=$2 stamp sum
  shift 2
  stamp=$work/$name.stamp
  sum=$(sha256sum "$@" | cut -d' ' -f1 | sha256sum)
  [[ -f $stamp && $(<"$stamp") == "$sum" ]] && return
  echo "clients: installing the $name clients"
  rm -f "$stamp"
  "$install" || fail "could not install the $name clients"
  echo "$sum" > "$stamp"
}

install_python() {
  rm -rf "$work/venv"
  python3 -m venv "$work/venv" &&
    "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
      --requirement "$here/python/requirements.txt"
}

install_js() {
  rm -rf "$work/js"
  mkdir -p "$work/js"
  cp "$here/js/package.json" "$work/js/"
  (cd "$work/js" && npm install --package-lock=false --no-audit --no-fund --loglevel=error)
}

# Starts the program in the background, its output in $work/<name>.log, and remembers its pid.
start() {  # name, arguments...
  local name=$1
  shift
  "$bin" "$@" > "$work/$name.log" 2>&1 &
  children+=($!)
}

# Waits until the condition holds; fails, with the log, when the program started last ends first.
await() {  # name, command...
  local name=$1 deadline=$((SECONDS + start_limit_s))
  shift
  until "$@"; do
    if ((SECONDS >= deadline)) || ! kill -0 "${children[-1]}" 2>/dev/null; then
      cat "$work/$name.log" >&2
      fail "$name did not start"
    fi
    sleep 0.1
  done
}

answers() { curl --silent --fail --output /dev/null --max-time 5 "$1/api/version"; }

announced_url() {
  sed -nE 's|.*listening on (http://[^ ]+).*|\1|p' "$work/gateway.log" | head -n 1
}
announced() { [[ -n $(announced_url) ]]; }

# The simulated nodes of fleet.toml; their URLs in `nodes`, the last of them the broken one.
start_fleet() {
  local address
  while read -r address; do nodes+=("http://$address"); done < <(
    sed -nE 's/^listen = "(.*)"$/\1/p' "$here/fleet.toml")
  for address in "${nodes[@]}"; do
    ! answers "$address" || fail "something already answers at $address"
  done
  start sim sim --fleet "$here/fleet.toml"
  for address in "${nodes[@]}"; do await sim answers "$address"; done
  SOLLOL_URL=${nodes[0]}
  export SOLLOL_BROKEN_URL=${nodes[-1]}
}

start_gateway() {
  local address flags=()
  # The spare node of a stream that dies comes second.
  for address in "${nodes[@]}"; do
    flags+=(--node "$address$([[ $address != *127.0.31.5:* ]] || echo ",priority=1")")
  done
  # The broken nodes break for every suite, so they must not be ejected after the first ones.
  export SOLLOL_HEALTH_FAILURES_TO_EJECT=1000
  export SOLLOL_HEALTH_WINDOW_REQUESTS=100000
  # Whatever waits gets heartbeats, which no client may stumble over.
  export SOLLOL_STREAM_HEARTBEAT_S=${SOLLOL_STREAM_HEARTBEAT_S:-0.2}
  start gateway up --no-node-file --listen 127.0.0.1:0 "${flags[@]}"
  await gateway announced
  SOLLOL_URL=$(announced_url)
  SOLLOL_GATEWAY=1
  SOLLOL_BROKEN_URL=$SOLLOL_URL
  await gateway answers "$SOLLOL_URL"
}

stop_children() {
  local pid
  for pid in "${children[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${children[@]}"; do wait "$pid" 2>/dev/null || true; done
}

failed=()
suite() {  # name, command...
  local name=$1
  shift
  echo "clients: $name"
  "$@" || failed+=("$name")
}

command -v python3 > /dev/null || fail "python3 is missing"
command -v npm > /dev/null || fail "npm is missing"
command -v curl > /dev/null || fail "curl is missing"
command -v node > /dev/null || fail "node is missing"
[[ $mode == gateway || $mode == node ]] || fail "unknown mode '$mode': gateway or node"
mkdir -p "$work"
install_once python install_python "$here/python/requirements.txt"
install_once js install_js "$here/js/package.json"
cp "$here"/js/*.mjs "$work/js/"

# Neither the user's settings nor a proxy may come between the clients and the servers.
unset OLLAMA_HOST OLLAMA_API_KEY http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
export XDG_CONFIG_HOME=$work

trap stop_children EXIT
if [[ -z ${SOLLOL_URL:-} ]]; then
  [[ -x $bin ]] || fail "no program at $bin: build it, or set SOLLOL_BIN"
  start_fleet
  if [[ $mode == gateway ]]; then start_gateway; fi
fi
export SOLLOL_URL SOLLOL_GATEWAY=${SOLLOL_GATEWAY:-0}
export SOLLOL_BIN=$bin
echo "clients: against $SOLLOL_URL"

for file in "$here"/python/test_*.py; do
  suite "python $(basename "$file" .py)" \
    "$work/venv/bin/python" -B -m pytest -q -p no:cacheprovider --tb=short "$file"
done
for file in "$work"/js/*.test.mjs; do
  suite "js $(basename "$file" .test.mjs)" node --no-warnings --test --test-reporter=spec "$file"
done

((${#failed[@]} == 0)) || fail "FAILED: $(printf '%s; ' "${failed[@]}")"
echo "clients: all suites passed"
