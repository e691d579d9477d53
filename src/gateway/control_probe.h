#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "cluster/wake.h"
#include "gateway/control.h"

namespace sollol::gateway {

/// No node has this id.
inline constexpr NodeId no_node{~0u};

/// What is probed of one node. Its loops hold it; `gone` ends them after the node was removed.
struct Control::Probe {
  Probe(NodeId node, cluster::NodeInfo about)
      : id(node), info(std::move(about)), host_field(cluster::host_field(info)) {}

  NodeId id;
  cluster::NodeInfo info;
  std::string host_field;
  std::vector<Address> addresses;
  TimePoint resolved_at{};
  std::unique_ptr<net::Stream> liveness;  // kept between probes
  TimePoint pending_since{};              // of a liveness probe under way; zero: none
  std::string connect_problem;            // what has been logged of why it is not trusted
  std::string agent_problem;              // and of the agent on its machine
  TimePoint seen_at{};                    // of a node that was found: last found, or answering
  std::string mac;                        // of a node that was found; empty: not known
  cluster::WakeCalls wake_calls;          // of a node that can be woken
  bool given_up = false;                  // it did not come: has been logged
  bool models_under_way = false;
  bool gone = false;
  bool leaving = false;  // no longer configured: goes when nothing of ours runs there
  std::shared_ptr<const NodeListing> listing = std::make_shared<const NodeListing>();
};

}  // namespace sollol::gateway
