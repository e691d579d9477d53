#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "routing/policy.h"

namespace sollol::routing {

/// A node as it was considered, small enough to be kept: seconds by term of its cost.
struct Considered {
  NodeId node{0};
  float wait_s = 0;
  float load_s = 0;
  float evict_s = 0;
  float crowd_s = 0;
  float prefill_s = 0;
  float decode_s = 0;
  float network_s = 0;
  std::uint16_t in_flight = 0;
  std::uint16_t limit = 0;
  std::uint8_t tier = 0;
  Warmth warmth = Warmth::warm;
  bool available = false;  // it could have been chosen then
  bool known = false;      // from measurements there
  // As of a Cost.
  float stay_s() const noexcept { return load_s + prefill_s + decode_s + network_s; }
  float own_s() const noexcept { return wait_s + stay_s(); }
  float total_s() const noexcept { return own_s() + evict_s + crowd_s; }
};

/// The chosen node first, then others, as many as are kept.
struct Consideration {
  static constexpr std::size_t kept_max = 8;
  std::array<Considered, kept_max> nodes{};
  std::uint8_t count = 0;
  std::span<const Considered> all() const noexcept { return {nodes.data(), count}; }
};

/// How long the request will keep the place that was considered.
cluster::Stay stay(const Considered& chosen, const RequestShape& shape) noexcept;

Considered consider(const Candidate& candidate, const RequestShape& shape, const Priors& priors);
/// O(kept), but for the priors.
Consideration consider(std::span<const Candidate> candidates, const RequestShape& shape,
                       std::size_t chosen);

}  // namespace sollol::routing
