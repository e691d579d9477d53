#!/bin/sh
# black_hole.sh GATEWAY_TEST: runs BlackHole.* in a network namespace where 10.99.0.2 is a neighbour that no machine
# answers for. Exit code 77 (skipped) where such a namespace cannot be made.
exec_in='
  ip link set lo up && ip link add hole0 type veth peer name hole1 && ip addr add 10.99.0.1/24 dev hole0 &&
  ip link set hole0 up && ip link set hole1 up &&
  ip neigh add 10.99.0.2 lladdr 02:00:00:00:00:02 dev hole0 nud permanent || exit 77
  SOLLOL_TEST_BLACK_HOLE=10.99.0.2 exec "$0" --gtest_brief=1 --gtest_filter="BlackHole.*"'
unshare -Urn true 2>/dev/null && command -v ip >/dev/null || exit 77
exec unshare -Urn sh -c "$exec_in" "$1"
