#pragma once

#include "cluster/live.h"

namespace sollol::cluster {

/// Whether the node takes new work: healthy, and neither an operator nor the machine's owner has
/// taken it out.
inline bool takes_work(const NodeLive& node) noexcept {
  return node.admin == Admin::enabled && !node.paused && node.availability == Availability::healthy;
}

}  // namespace sollol::cluster
