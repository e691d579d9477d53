#pragma once

#include <functional>
#include <vector>

#include "discovery/node_collector.h"
#include "discovery/scan.h"

namespace sollol::discovery {

/// What one look at the network brought.
struct Discovery {
  std::vector<DiscoveredNode> nodes;
  std::vector<Found> others;  // open ports that are no nodes
  std::vector<AddressRange> ranges;
  std::vector<SkippedRange> skipped;
  ScanFigures figures;
};

/// Looks for nodes, once, and returns when it is done: within the time-out and what verifying
/// takes. `on_node` is told of each node as it is found, before other ways to it may be. Blocks its
/// thread. Error: bad_input for the options, refused when the system does not tell its networks.
Result<Discovery> discover(const ScanOptions& options,
                           const std::function<void(const DiscoveredNode&)>& on_node = {});

}  // namespace sollol::discovery
