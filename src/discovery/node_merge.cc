#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "discovery/node_spec.h"

namespace sollol::discovery {

std::vector<NodeSpec> merge_nodes(const NodeSources& sources) {
  std::vector<NodeSpec> merged;
  std::set<std::string> known;
  const auto add = [&](const NodeSpec& node) {
    if (known.insert(address_key(node)).second) merged.push_back(node);
  };
  for (const auto* source : {&sources.flags, &sources.config, &sources.node_file})
    std::ranges::for_each(*source, add);
  if (sources.ollama_host) {
    add(*sources.ollama_host);
    const auto key = address_key(*sources.ollama_host);
    const auto first = std::ranges::find(merged, key, address_key);
    std::rotate(merged.begin(), first, first + 1);
  }
  std::ranges::for_each(sources.base_urls, add);
  unique_names(merged);
  return merged;
}

void unique_names(std::vector<NodeSpec>& nodes) {
  std::set<std::string>
      taken;  // every name that was asked for, so that no made-up name collides with one
  for (const auto& node : nodes) taken.insert(node.name);
  std::set<std::string> used;
  for (auto& node : nodes) {
    if (used.insert(node.name).second) continue;
    std::string name;
    for (std::size_t n = 2; name.empty() || !taken.insert(name).second; ++n)
      name = fmt::format("{}-{}", node.name, n);
    node.name = name;
    used.insert(name);
  }
}

std::string address_key(const NodeSpec& node) {
  const auto& host = node.host == "localhost" ? std::string("127.0.0.1") : node.host;
  return fmt::format("[{}]:{}{}", host, node.port, node.path_prefix);
}

}  // namespace sollol::discovery
