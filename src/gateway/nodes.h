#pragma once

#include "cluster/snapshot.h"
#include "discovery/node_spec.h"

namespace sollol::gateway {

/// A node as configured, in the cluster's terms.
inline cluster::NodeInfo to_node_info(const discovery::NodeSpec& spec) {
  return {.name = spec.name,
          .url = spec.url,
          .host = spec.host,
          .port = spec.port,
          .path_prefix = spec.path_prefix,
          .tier = spec.priority,
          .slots = spec.slots.value_or(0),
          .machine = spec.physical_host,
          .device = spec.device,
          .origin = spec.origin};
}

}  // namespace sollol::gateway
