#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "cluster/snapshot.h"

namespace sollol::routing {

struct ResidencyLimits {
  double hot_per_hour = 12;                   // a model asked for so often stays in memory
  double utilisation = 0.7;                   // of its places, beyond which one more node loads it
  Duration pause = std::chrono::minutes(10);  // between two tries of a model at a node; doubled
                                              // each time that it did not last
  std::uint32_t loads_at_once = 2;            // in the fleet
};

/// Of what is known of how often a model is asked for, and of how many requests run at once: the
/// first tells what is worth keeping, the second follows demand as it grows.
inline constexpr Duration rate_half_life = std::chrono::minutes(10);
inline constexpr Duration busy_half_life = std::chrono::minutes(1);
/// A model that works for so much of the time is hot, however rare its requests are.
inline constexpr double busy_hot = 0.25;
/// A hot model that its node would unload sooner than this is kept.
inline constexpr Duration keep_within = std::chrono::minutes(1);
/// A node so many times slower than the fastest with the model is of no help to its demand.
inline constexpr double slower_most = 8;
/// Nodes stay claimed for a model until its demand has fallen to this share of what claimed them.
inline constexpr double release_share = 0.6;

inline constexpr unsigned pause_doubled_most = 4;

/// Something to be done for a model at a node.
struct ResidencyStep {
  enum class Kind : std::uint8_t {
    load,
    keep,  // have it stay: its time is nearly over
    pull,
  } kind = Kind::load;
  NodeId node;
  std::size_t node_index = 0;  // in the snapshot
  std::string key{};           // of the model
  std::string model{};         // as people write it
  std::size_t replica = 0;     // of the model's; not of a pull
  enum class Cause : std::uint8_t { wish, demand } cause = Cause::demand;
  bool pushes_out = false;  // a load: the node has no room for it beside what it holds
  bool asked = false;  // for the first time since an operator wished so: done whatever the mode
  std::string why{};   // a phrase for people
};
std::string_view name(ResidencyStep::Kind kind) noexcept;
std::string_view name(ResidencyStep::Cause cause) noexcept;

/// How a model stands.
struct ModelStanding {
  std::string key{};
  std::string model{};
  double per_hour = 0;         // requests
  double busy = 0;             // of them at once, those that wait included
  std::uint32_t wish = 0;      // nodes that an operator wants it on; 0: none
  std::uint32_t need = 0;      // nodes that should have it loaded, its wish included
  std::uint32_t resident = 0;  // nodes that can be sent requests and have
  std::uint32_t loading = 0;
  bool asked = false;     // an operator's wish is not settled yet
  std::string problem{};  // why it cannot be where it is needed, or what failed last
};

/// Of a model that is neither wanted nor asked for.
ModelStanding standing_of(const cluster::Snapshot& snapshot, const cluster::Model& model);

struct ResidencyPlan {
  std::vector<ModelStanding> models{};  // that are wanted or asked for, the most wanted first
  std::vector<ResidencyStep> steps{};   // at most one load or pull at a node
};

/// What a snapshot does not tell.
struct ResidencySight {
  std::function<std::size_t(ModelId)> waiting;  // requests in the queue
  /// Seconds until a node unloads a model; below 0: it is busy or about to go (reference §8);
  /// nullopt: not told.
  std::function<std::optional<double>(std::size_t node_index, const std::string& key)> expires_in_s;
  bool may_pull = false;
};

/// Plans which models are in the memory of which nodes: hot ones stay, on as many nodes as their
/// demand needs, and what an operator wished for is loaded.
///
/// A model's demand needs nodes until their places are used to `utilisation`. Nodes that hold it
/// already are claimed first, the fastest before others. What is missing is loaded at a node that
/// has room; one that was never seen to hold more models than now has room only where none of its
/// models is claimed and nothing runs, unless an operator has just asked. So no plan pushes out
/// what another one needs, and with demand as it is a model is loaded at a node at most once in
/// `pause`.
///
/// One thread; told the time. A plan is O(replicas).
class Residency {
 public:
  explicit Residency(ResidencyLimits limits) : limits_(limits) {}
  void set_limits(ResidencyLimits limits) { limits_ = limits; }

  /// The model shall be on so many nodes; 0 withdraws that.
  void wish(const std::string& key, std::string model, std::uint32_t replicas);
  /// What an operator wished for, by key, with the model as written.
  std::map<std::string, std::pair<std::string, std::uint32_t>> wishes() const;
  /// Takes up wishes of an earlier life: kept where the mode is to, and not asked for anew.
  void restore_wish(const std::string& key, std::string model, std::uint32_t replicas);

  ResidencyPlan plan(const cluster::Snapshot& snapshot, const ResidencySight& sight, TimePoint now);

  /// Whether the step fits beside what is under way; not asked of a keep.
  bool may_begin(const ResidencyStep& step) const;
  /// A load or pull is under way, and has ended; empty `failure`: well.
  void begun(const ResidencyStep& step, TimePoint now);
  void ended(const ResidencyStep& step, std::string failure);

 private:
  struct Wish {
    std::string model;
    std::uint32_t replicas = 0;
    bool asked = true;
    std::string failure{};
  };
  struct Meter {
    double per_s = 0;
    double busy = 0;
  };
  /// What a replica's counters said last.
  struct Counted {
    std::uint64_t turns = 0;
    double area_s = 0;
    std::uint64_t round = 0;
  };
  using At = std::pair<NodeId, std::string>;  // and the model's key; empty: whatever pushed out
  struct Tried {
    TimePoint at{};
    Duration pause{};
  };
  struct Draft;  // a plan in the making

  bool paused(const At& at, TimePoint now) const;
  void pause(const At& at, TimePoint now);
  void measure(const cluster::Snapshot& snapshot, const ResidencySight& sight, TimePoint now);

  ResidencyLimits limits_;
  std::map<std::string, Wish> wishes_;
  std::map<ModelId, Meter> meters_;
  std::unordered_map<const cluster::ReplicaLive*, Counted> counted_;
  std::uint64_t round_ = 0;
  std::optional<TimePoint> measured_at_;
  std::map<At, Tried> tried_;  // loads and pulls, within twice their pause
  std::set<NodeId> loading_, pulling_;
};

}  // namespace sollol::routing
