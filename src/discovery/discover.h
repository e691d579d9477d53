#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "discovery/node_collector.h"
#include "discovery/node_spec.h"
#include "discovery/scan.h"

namespace sollol::discovery {

/// What one look at the network brought.
struct Discovery {
  std::vector<DiscoveredNode> nodes;
  std::vector<Found> others;     // open ports that are no nodes
  std::vector<Address> refused;  // where a machine is and nothing listens
  std::vector<AddressRange> ranges;
  std::vector<SkippedRange> skipped;
  std::vector<std::string> notes;  // what sources said that are not addresses, for people
  ScanFigures figures;
};

/// The node as a file or a cluster names it.
NodeSpec to_node_spec(const DiscoveredNode& node);

/// Adds the nodes to the node file at `path`, which is made when there is none; what stands there
/// already stays as it is. How many are new. Error: the file cannot be read or written.
Result<std::size_t> save_found(std::span<const NodeSpec> nodes, const std::string& path);

/// The same for nodes that somebody named: they carry no mark, and no scan takes them away.
Result<std::size_t> save_nodes(std::span<const NodeSpec> nodes, const std::string& path);

/// Told of a node as it is found, and again with each other way to it.
using OnNode = std::function<void(const DiscoveredNode&, NodeCollector::Outcome)>;

/// Looks for nodes, once, and is done within the time-out and what verifying takes. Container
/// engines are asked meanwhile, within the time-out too: one that is broken or silent costs no more
/// than that, and a note. Error:
/// bad_input for the options, refused when the system does not tell its networks.
net::Task<Result<Discovery>> look(net::asio::io_context& context, net::Scheduler& scheduler,
                                  net::Connector& connector, ScanOptions options, OnNode on_node);

/// The same on a thread of its own business: blocks until it is done.
Result<Discovery> discover(const ScanOptions& options, const OnNode& on_node = {});

}  // namespace sollol::discovery
