#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "cluster/live.h"
#include "cluster/place.h"
#include "cluster/snapshot.h"

namespace sollol::cluster {

/// Below this a load is the node's own time around one: it teaches nothing.
inline constexpr Duration load_min = std::chrono::milliseconds(200);

/// Share of a request's time that one at a node on another device of the machine costs it: memory,
/// buses and power are shared (docs/locality.md has what is measured as that).
inline constexpr double machine_sharing_cost = 0.05;

/// How many times as long all takes on a machine beside so many requests on its other devices and
/// beside other programs' work.
inline double slowed_by_machine(double foreign_slowdown, double requests) noexcept {
  return foreign_slowdown * (1 + machine_sharing_cost * requests);
}

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
  Company at_dispatch{};
  Company meanwhile{};
  std::uint64_t size_bytes = 0;  // of the model
  double weights = 0;            // of the model, how many
};

/// Takes up the rates, the slots and the health of a replica. Rates are kept as they would be
/// without any other work on the machine, since a choice counts that as it is then. Any thread.
void learn(NodeLive& node, ReplicaLive& replica, const Finished& finished, TimePoint now);

/// Takes up how long a whole request took, which was expected to take so long: what is late there.
/// A request is unusually late after `late_factor` times what is expected of it: the 95th
/// percentile, of a quantity whose logarithm is normally distributed. Any thread.
void learn_lateness(ReplicaLive& replica, double took_s, double expected_s, TimePoint now);
/// Standard deviations to the 95th percentile of a normal distribution.
inline constexpr double late_spreads = 1.645;
/// Fewer requests do not tell what is usual.
inline constexpr double lateness_samples_min = 8;

/// What was learnt about one model on one node.
struct LearntModel {
  std::string key{};
  std::string digest{};
  std::uint32_t slots = 0;     // 0: not known
  KeptEstimate prefill{};      // tokens a second
  KeptTokenTime token{};       // of decoding
  KeptEstimate load{};         // seconds
  KeptEstimate lateness{};     // times as long as expected: see learn_lateness
  double service_s = 0;        // of a whole request; 0: not known
  double longest_gap_s = 0;    // between two tokens of a stream; 0: not known
  double bytes_per_token = 0;  // of prompts, wherever the model is; 0: not known
  bool operator==(const LearntModel&) const = default;
};

/// What was learnt about a node.
struct LearntNode {
  double decode_bytes_per_s = 0;  // see NodeLive; 0: not known
  double prefill_weights_per_s = 0;
  double load_bytes_per_s = 0;
  std::vector<LearntModel> models{};
  bool operator==(const LearntNode&) const = default;
};

/// Without the names; nullopt: nothing was learnt. Any thread.
std::optional<LearntModel> learnt(ReplicaLive& replica);
/// Takes it up. Any thread.
void restore(ReplicaLive& replica, const LearntModel& learnt);
/// Lets what is known of it grow old: a choice tries again what was known long ago. Any thread.
void grow_older(ReplicaLive& replica, TimePoint now);

/// A load that the gateway has a node do begins.
void load_begins(NodeLive& node, ReplicaLive& replica, std::uint64_t runner_key,
                 TimePoint now) noexcept;

enum class LoadEnd : std::uint8_t {
  loaded,
  not_asked,     // the node would not load for a bare request
  model_failed,  // the node said that the model cannot be loaded
  node_failed,   // it did not answer properly: for the node's health to judge
};
/// `size_bytes`: of the model.
void load_ended(NodeLive& node, ReplicaLive& replica, std::uint64_t size_bytes, LoadEnd end,
                Duration took, TimePoint now) noexcept;

/// A request for the model has to queue: replicas that are full and learn their limit may try one
/// more.
void want_more(const Model& model, TimePoint now);

}  // namespace sollol::cluster
