#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "locality/grouping.h"

namespace sollol::locality {

using Partition = std::set<std::set<std::string>>;

inline std::set<std::string> names_of(const Grouping& grouping,
                                      const std::vector<std::size_t>& nodes) {
  std::set<std::string> out;
  for (const auto node : nodes) out.insert(grouping.names[node]);
  return out;
}

/// Which nodes are together, by name.
inline Partition hosts_of(const Grouping& grouping) {
  Partition out;
  for (const auto& host : grouping.hosts) out.insert(names_of(grouping, host.nodes));
  return out;
}

inline Partition devices_of(const Grouping& grouping) {
  Partition out;
  for (const auto& host : grouping.hosts) {
    for (const auto& device : host.devices) out.insert(names_of(grouping, device.nodes));
  }
  return out;
}

inline std::set<std::string> ids_of(const Grouping& grouping) {
  std::set<std::string> out;
  for (const auto& host : grouping.hosts) out.insert(host.id);
  return out;
}

/// A node of which only name and address are known.
inline NodeFacts at(std::string name, std::string address, std::uint16_t port = 11434) {
  return {.name = std::move(name), .port = port, .addresses = {std::move(address)}};
}

}  // namespace sollol::locality
