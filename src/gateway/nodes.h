#pragma once

#include <optional>

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
          .wake_mac = spec.wake ? spec.mac : std::string(),
          .origin = spec.origin};
}

/// The reverse, for the node file.
inline discovery::NodeSpec to_node_spec(const cluster::NodeInfo& info) {
  return {.name = info.name,
          .url = info.url,
          .scheme = cluster::uses_tls(info) ? "https" : "http",
          .host = info.host,
          .port = info.port,
          .path_prefix = info.path_prefix,
          .priority = info.tier,
          .slots = info.slots > 0 ? std::optional(info.slots) : std::nullopt,
          .physical_host = info.machine,
          .device = info.device,
          .mac = info.wake_mac,
          .wake = !info.wake_mac.empty(),
          .origin = info.origin};
}

}  // namespace sollol::gateway
