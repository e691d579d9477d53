#include "routing/consider.h"

#include <algorithm>

namespace sollol::routing {

namespace {

template <class Small>
Small bounded(std::uint32_t value) {
  return static_cast<Small>(std::min<std::uint32_t>(value, std::numeric_limits<Small>::max()));
}

}  // namespace

cluster::Stay stay(const Considered& chosen, const RequestShape& shape) noexcept {
  // As far off as the lengths of answers to the same client often are: nothing is known then.
  constexpr double spread_of_guesses = 0.7;
  const double doubt = chosen.known ? shape.length_spread / spread_of_guesses : 1;
  return {.seconds = chosen.stay_s(), .doubt = static_cast<float>(std::min(doubt, 1.0))};
}

Considered consider(const Candidate& c, const RequestShape& shape, const Priors& priors) {
  const Cost cost = expected_completion(c, shape, priors);
  return {.node = c.node,
          .wait_s = static_cast<float>(cost.wait_s),
          .load_s = static_cast<float>(cost.load_s),
          .evict_s = static_cast<float>(cost.evict_s),
          .crowd_s = static_cast<float>(cost.crowd_s),
          .prefill_s = static_cast<float>(cost.prefill_s),
          .decode_s = static_cast<float>(cost.decode_s),
          .network_s = static_cast<float>(cost.network_s),
          .in_flight = bounded<std::uint16_t>(c.in_flight),
          .limit = bounded<std::uint16_t>(c.limit),
          .tier = bounded<std::uint8_t>(c.tier),
          .warmth = c.warmth,
          .available = can_serve(c) && c.in_flight < c.limit,
          .known = cost.known};
}

Consideration consider(std::span<const Candidate> candidates, const RequestShape& shape,
                       std::size_t chosen) {
  Consideration out;
  const Priors priors = priors_of(candidates);
  out.nodes[out.count++] = consider(candidates[chosen], shape, priors);
  for (std::size_t i = 0; i < candidates.size() && out.count < Consideration::kept_max; ++i) {
    if (i != chosen) out.nodes[out.count++] = consider(candidates[i], shape, priors);
  }
  return out;
}

}  // namespace sollol::routing
