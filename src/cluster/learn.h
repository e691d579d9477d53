#pragma once

#include <cstdint>
#include <string>

#include "base/time.h"
#include "cluster/live.h"
#include "cluster/snapshot.h"

namespace sollol::cluster {

/// Below this a load is the node's own time around one: it teaches nothing.
inline constexpr Duration load_min = std::chrono::milliseconds(200);

/// Share of a request's time that one request of another model or node on the device costs it: two
/// take turns, and neither fills the other's batch.
inline constexpr double device_sharing_cost = 1;

/// What a request that was answered whole tells of its model on its node.
struct Finished {
  Duration took{};           // from sending it
  Duration longest_gap{};    // between two tokens
  bool told = false;         // what follows is known: the node reported durations
  double prompt_tokens = 0;  // that it evaluated: those of its prompt cache are not among them
  double output_tokens = 0;
  Duration total{};
  Duration load{};
  Duration prompt_eval{};
  Duration eval{};
  Duration slot_wait{};
  std::uint32_t in_flight_at_dispatch = 1;  // itself included
  double streams = 1;                    // of its model there on average meanwhile, itself included
  std::uint32_t others_at_dispatch = 0;  // requests of other models there
  double others = 0;                     // the same, on average meanwhile
  std::uint64_t size_bytes = 0;          // of the model
};

/// Takes up the rates, the slots and the health of a replica. Rates are kept as they would be
/// without other programs' work there and without other models' on the node, since a choice counts
/// these as they are then. Any thread.
void learn(NodeLive& node, ReplicaLive& replica, const Finished& finished, TimePoint now);

/// Takes up how long a whole request took, which was expected to take so long: what is late there.
/// A request is unusually late after `late_factor` times what is expected of it: the 95th
/// percentile, of a quantity whose logarithm is normally distributed. Any thread.
void learn_lateness(ReplicaLive& replica, double took_s, double expected_s, TimePoint now);
/// Standard deviations to the 95th percentile of a normal distribution.
inline constexpr double late_spreads = 1.645;
/// Fewer requests do not tell what is usual.
inline constexpr double lateness_samples_min = 8;

/// What was learnt about one model on one node; 0: not known.
struct LearntModel {
  std::string key;
  std::string digest;
  std::uint32_t slots = 0;
  double prefill_tokens_per_s = 0;
  double decode_tokens_per_s = 0;
  double decode_share = 0;
  double load_s = 0;
  double service_s = 0;
  double longest_gap_s = 0;
};

/// Takes it up, as good as `samples_restored` measurements.
void restore(ReplicaLive& replica, const LearntModel& learnt);
inline constexpr double samples_restored = 8;

/// A load that the gateway has a node do begins.
void load_begins(ReplicaLive& replica, std::uint64_t runner_key, TimePoint now) noexcept;

enum class LoadEnd : std::uint8_t {
  loaded,
  not_asked,     // the node would not load for a bare request
  model_failed,  // the node said that the model cannot be loaded
  node_failed,   // it did not answer properly: for the node's health to judge
};
void load_ended(ReplicaLive& replica, LoadEnd end, Duration took, TimePoint now) noexcept;

/// A request for the model has to queue: replicas that are full and learn their limit may try one
/// more.
void want_more(const Model& model, TimePoint now);

}  // namespace sollol::cluster
