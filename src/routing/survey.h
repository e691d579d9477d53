#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "cluster/history.h"
#include "cluster/snapshot.h"
#include "routing/candidate.h"

namespace sollol::routing {

/// What a request asks of a node.
struct Demand {
  RequestShape shape;
  std::uint64_t runner_key = 0;
  std::uint32_t num_ctx = 0;
  std::optional<cluster::SessionTrace> trace;  // what its conversation left where it was last
  std::optional<NodeId> pinned;                // the operator of the request named its node
  std::vector<NodeId> excluded;                // tried already
  std::string digest;  // of the model, when no other will do: an answer is continued
};

/// What the request finds at a replica. A load of its model under way does not count as loaded.
Warmth warmth_of(const cluster::ReplicaLive& replica, const Demand& demand);

/// Copies out of the live state what a policy sees of the nodes that have `model`, in the order of
/// its replicas; of all nodes, in the snapshot's order, when it is null. O(nodes); `out` keeps its
/// memory. Any thread.
void survey(const cluster::Snapshot& snapshot, const cluster::Model* model, const Demand& demand,
            TimePoint now, std::vector<Candidate>& out);

}  // namespace sollol::routing
