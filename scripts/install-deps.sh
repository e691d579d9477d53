#!/usr/bin/env bash
# Installs Debian 12's packages that SOLLOL needs. Usage: scripts/install-deps.sh build|test|python
# Asks for root through sudo when it is not root; does nothing when all are there.
set -euo pipefail

build=(clang-19 lld-19 libclang-rt-19-dev cmake ninja-build pkg-config ccache
  libboost1.81-dev libboost-json1.81-dev libboost-url1.81-dev libsimdjson-dev libzstd-dev libspdlog-dev libfmt-dev
  libcli11-dev libtomlplusplus-dev libyaml-cpp-dev prometheus-cpp-dev libssl-dev libsqlite3-dev
  liburing-dev libmimalloc-dev libnl-route-3-dev)
python=(python3 python3-dev python3-venv)
test=("${python[@]}" libgtest-dev libgmock-dev librapidcheck-dev libbenchmark-dev nodejs npm curl iproute2 procps
  avahi-daemon dbus libavahi-client3)

case ${1:-} in
  build) wanted=("${build[@]}") ;;
  test) wanted=("${build[@]}" "${test[@]}") ;;
  python) wanted=("${build[@]}" "${python[@]}") ;;
  *) echo "usage: scripts/install-deps.sh build|test|python" >&2; exit 2 ;;
esac

missing=()
for package in "${wanted[@]}"; do
  # A Node.js or Python that was installed otherwise will do.
  case $package in
    nodejs) command -v node >/dev/null && continue ;;
    npm) command -v npm >/dev/null && continue ;;
  esac
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

echo "installing: ${missing[*]}"
as_root=()
[[ $(id -u) -eq 0 ]] || as_root=(sudo)
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
