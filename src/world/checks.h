#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "cluster/retry_budget.h"
#include "cluster/snapshot.h"
#include "cluster/wait_queue.h"
#include "routing/hedge.h"
#include "routing/policy.h"

namespace sollol::world {

/// What must hold after every step, whatever the policy and the faults; counted here apart from the
/// code that is checked.
class Checks {
 public:
  Checks(std::size_t requests, std::size_t nodes, std::uint32_t hedge_percent)
      : ends_(requests), in_flight_(nodes), hedge_percent_(hedge_percent) {}

  /// The policy chose among these, which are as it saw them.
  void chosen(std::span<const routing::Candidate> candidates, const routing::Choice& choice);
  /// A request may have a second try beside a late first one; it has one, at that candidate.
  void may_be_hedged() { ++hedgeable_; }
  void hedged(const routing::Candidate& second, const routing::FirstTry& first);
  /// A place was taken at the node of that index, or given back.
  void entered(std::size_t node, const cluster::NodeLive& live, const cluster::ReplicaLive& replica,
               std::uint32_t limit);
  void left(std::size_t node, const cluster::NodeLive& live);
  /// A load is planned at the node of that index, beside so many of the gateway's.
  void load_planned(std::size_t node, std::size_t beside);
  /// A request of the model waits; it stopped waiting, with a place or without.
  void waits(ModelId model, cluster::Urgency urgency) { ++lanes_[model].waiting[index(urgency)]; }
  void granted(ModelId model, cluster::Urgency urgency);
  void gave_up(ModelId model, cluster::Urgency urgency);
  void ended(std::size_t request);
  /// After everything.
  void finished(std::uint64_t in_flight, std::size_t waiting);

  const std::vector<std::string>& broken() const { return broken_; }
  std::uint32_t passed_over_most() const { return passed_over_most_; }

 private:
  struct Lane {
    std::array<std::uint32_t, cluster::urgency_count> waiting{};
    std::array<std::uint32_t, cluster::urgency_count> passed{};
  };
  static std::size_t index(cluster::Urgency urgency) { return static_cast<std::size_t>(urgency); }
  void fail(std::string what);

  std::vector<std::uint8_t> ends_;
  std::vector<std::uint32_t> in_flight_;
  std::uint32_t hedge_percent_;
  std::uint64_t hedgeable_ = 0;
  std::uint64_t hedges_ = 0;
  std::map<ModelId, Lane> lanes_;
  std::uint32_t passed_over_most_ = 0;
  std::vector<std::string> broken_;
};

}  // namespace sollol::world
