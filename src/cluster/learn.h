#pragma once

#include <cstdint>

#include "base/time.h"
#include "cluster/live.h"
#include "cluster/snapshot.h"

namespace sollol::cluster {

/// Below this a load is the node's own time around one: it teaches nothing.
inline constexpr Duration load_min = std::chrono::milliseconds(200);

/// What a request that was answered whole tells of its model on its node.
struct Finished {
  Duration took{};         // from sending it
  Duration longest_gap{};  // between two tokens
  bool told = false;       // what follows is known: the node reported durations
  std::uint64_t prompt_tokens = 0;
  std::uint64_t output_tokens = 0;
  Duration total{};
  Duration load{};
  Duration prompt_eval{};
  Duration eval{};
  Duration slot_wait{};
  std::uint32_t in_flight_at_dispatch = 1;  // itself included
};

/// Takes up the rates, the slots and the health of a replica. `foreign`: how many times as long all
/// takes there because of other programs' work. Any thread.
void learn(ReplicaLive& replica, const Finished& finished, double foreign, TimePoint now);

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
