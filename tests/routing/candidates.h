#pragma once

#include <array>

#include "routing/policy.h"

namespace sollol::routing {

inline constexpr std::array all_policies{Policy::expected_completion,
                                         Policy::round_robin,
                                         Policy::least_connections,
                                         Policy::power_of_two,
                                         Policy::random,
                                         Policy::priority,
                                         Policy::fastest,
                                         Policy::peak_ewma,
                                         Policy::lmetric,
                                         Policy::points};

/// A healthy node with the model warm and one free place.
inline Candidate node(std::uint32_t id) {
  Candidate c{.node = NodeId{id}};
  c.availability = cluster::Availability::healthy;
  c.warmth = Warmth::warm;
  return c;
}

/// The same, with known speed.
inline Candidate node_of_speed(std::uint32_t id, double decode_tokens_per_s) {
  Candidate c = node(id);
  c.decode_tokens_per_s = decode_tokens_per_s;
  c.prefill_tokens_per_s = decode_tokens_per_s * 20;
  return c;
}

inline constexpr RequestShape chat{.prompt_tokens = 200, .expected_tokens = 100};
/// A draw that does not offer a trial.
inline constexpr std::uint64_t no_trial = ~std::uint64_t{0};

}  // namespace sollol::routing
