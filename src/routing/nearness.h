#pragma once

#include "cluster/snapshot.h"
#include "routing/candidate.h"

namespace sollol::routing {

/// What the two nodes are known to share.
inline Nearness nearness(const cluster::Node& a, const cluster::Node& b) noexcept {
  if (a.device_load != nullptr && a.device_load == b.device_load) return Nearness::same_device;
  if (a.machine_load != nullptr && a.machine_load == b.machine_load) return Nearness::same_machine;
  return Nearness::apart;
}

}  // namespace sollol::routing
