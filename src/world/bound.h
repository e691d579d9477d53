#pragma once

#include <span>
#include <vector>

#include "world/workload.h"

namespace sollol::world {

/// What no choosing can beat: the fleet's speed by its true rates, every model warm everywhere,
/// nobody in anybody's way, and requests divisible at will.
///
/// For any worth v of a node's time, the work of a request is at least the least of its time on a
/// node × v, and the fleet does at most the sum of v × what runs beside each other there in a
/// second (weak duality of the linear programme that shares requests out); v is here a node's
/// decode rate relative to that of others. The bound is met where the nodes' rates stand in one
/// proportion.
class Bound {
 public:
  explicit Bound(const Fleet& fleet);

  /// The request alone on the best idle node that has its model loaded, and in its cache all that
  /// was said before.
  double alone_s(const Request& request) const;
  /// The least time from the first arrival to the last answer, where each request takes so many
  /// times as long as its size says.
  double makespan_s(const Workload& workload, std::span<const double> noise) const;
  /// How many requests like these the fleet can answer in a second, when nothing is in a cache.
  double capacity_per_s(const std::vector<Request>& requests) const;

 private:
  /// Seconds for a token on one kind of node; a model's kinds that another beats in both are left
  /// out.
  struct Pace {
    double prefill_s;
    double decode_s;
  };
  static double least(const std::vector<Pace>& paces, const Request& request, std::uint32_t cached);

  std::vector<std::vector<Pace>> plain_;     // by model
  std::vector<std::vector<Pace>> weighted_;  // the same times the worth of the node's time
  double speed_ = 0;                         // of the fleet, in that worth a second
};

}  // namespace sollol::world
