#pragma once

#include <cstdint>
#include <optional>

#include "cluster/departures.h"
#include "cluster/snapshot.h"

namespace sollol::cluster {

/// Requests that run beside one, each kind without those before it.
struct Company {
  double streams = 1;  // of its model at its node, itself included
  double others = 0;   // of other models there
  double device = 0;   // at other nodes of its device
  double machine = 0;  // at nodes on other devices of its machine

  /// Who takes turns with it on its device.
  double neighbours() const noexcept { return others + device; }
};

/// What a request found when it took a place at a node.
struct Entered {
  std::uint32_t in_flight = 0;  // of its model there, itself included
  std::uint64_t requests = 0;   // that the node has had, itself included
  bool alone = false;           // nothing else of ours was there
  bool trial = false;           // it is the one request that finds out
  std::uint64_t turn = 0;       // of its model there
  Company company{};
  struct Areas {  // of occupancy, requests times seconds: each has the one before within
    double replica_s = 0, node_s = 0, device_s = 0, machine_s = 0;
  } areas{};
  TimePoint at{};
  TimePoint end{};  // half of what is in doubt before it is expected
  float doubt = 1;
};

/// Requests at the nodes that share its device, and at those on other devices of its machine.
struct Beside {
  std::uint32_t device = 0;
  std::uint32_t machine = 0;
};
/// `own`: those at the node itself, which are among both. Here for the choice, which asks for each
/// node that it looks at.
inline Beside beside(const Node& node, std::uint32_t own) noexcept {
  // The counters move one after the other.
  const auto beyond = [](const SharedLoad* group, std::uint32_t part) {
    const std::uint32_t all =
        group == nullptr ? 0 : group->in_flight.load(std::memory_order_relaxed);
    return all > part ? all - part : 0;
  };
  const std::uint32_t device = beyond(node.device_load.get(), own);
  return {.device = device, .machine = beyond(node.machine_load.get(), own + device)};
}

/// Takes a place at a node, unless another has just taken the last below `limit`, or the trial. Any
/// thread.
std::optional<Entered> enter(const Node& node, ReplicaLive* replica, std::uint32_t limit,
                             const Stay& stay, TimePoint now);

/// Gives back what `enter` took; what ran beside it, on average meanwhile.
Company leave(const Node& node, ReplicaLive* replica, const Entered& entered,
              TimePoint now) noexcept;

}  // namespace sollol::cluster
