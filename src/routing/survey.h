#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/time.h"
#include "cluster/history.h"
#include "cluster/snapshot.h"
#include "routing/candidate.h"
#include "routing/policy.h"

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

/// How many of a model's replicas a choice looks at where it has more than `survey_whole_max`: all
/// that it was sent to lately, and these drawn at random from the best tier. What that loses is
/// measured in bench/routing.
/// Source: "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 12(10), 2001.
inline constexpr std::size_t survey_whole_max = 32;
inline constexpr std::size_t survey_drawn = 4;

/// Copies out of the live state what a policy sees of the nodes that have `model`, in the order of
/// its replicas; of all nodes, in the snapshot's order, when it is null. O(nodes); `out` keeps its
/// memory. Any thread.
void survey(const cluster::Snapshot& snapshot, const cluster::Model* model, const Demand& demand,
            TimePoint now, std::vector<Candidate>& out);

/// The same for a second try beside the one at `first`: how near each node is to it; excluded are
/// that node itself and all that have the model with another digest or only a stub of it. O(nodes).
void survey_beside(const cluster::Snapshot& snapshot, const cluster::Model& model,
                   const Demand& demand, NodeId first, TimePoint now, std::vector<Candidate>& out);

/// The same of some replicas of a model that has many, drawn by `draw`. False, and nothing done:
/// it has not, or only the whole will do. O(1).
bool survey_some(const cluster::Snapshot& snapshot, const cluster::Model* model,
                 const Demand& demand, TimePoint now, std::uint64_t draw,
                 std::vector<Candidate>& out);

/// Whether what was chosen among some will do: a node of the best tier that has room. Otherwise the
/// whole is looked at.
bool good_enough(const Result<Choice>& choice, const std::vector<Candidate>& some);

/// Chooses among some where that will do, else among all. `awaited`: by requests before this one.
/// The choice's index is into `scratch`.
Result<Choice> survey_and_choose(Policy policy, const cluster::Snapshot& snapshot,
                                 const cluster::Model* model, const Demand& demand,
                                 std::span<const AwaitedPlace> awaited, TimePoint now,
                                 std::uint64_t draw, std::vector<Candidate>& scratch);

}  // namespace sollol::routing
