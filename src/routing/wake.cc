#include "routing/wake.h"

#include <tuple>

#include "routing/policy.h"

namespace sollol::routing {

namespace {

/// Places per second that come free at nodes of this tier and better ones.
double places_per_s(std::span<const Candidate> candidates, std::uint32_t tier,
                    const RequestShape& shape, const Priors& priors) {
  double rate = 0;
  for (const Candidate& c : candidates) {
    if (!can_serve(c) || c.tier > tier) continue;
    const Cost cost = expected_completion(c, shape, priors);
    const double service = c.service_s > 0 ? c.service_s * cost.slowdown
                                           : cost.load_s + cost.prefill_s + cost.decode_s;
    // One that is done at once has room at once.
    rate += c.limit / std::max(service, 1e-6);
  }
  return rate;
}

}  // namespace

std::optional<std::size_t> choose_to_wake(std::span<const Candidate> candidates,
                                          const RequestShape& shape, const Waiting& waiting,
                                          Duration wake_time) {
  const Priors priors = priors_of(candidates);
  std::optional<std::size_t> best;
  const auto rank = [&](const Candidate& c) {
    return std::tuple(c.tier, expected_completion(c, shape, priors).total(), c.node);
  };
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (asleep(candidates[i]) && (!best || rank(candidates[i]) < rank(candidates[*best]))) best = i;
  }
  if (!best || waiting.longest >= wake_time) return best;
  const double rate = places_per_s(candidates, candidates[*best].tier, shape, priors);
  const bool in_time =
      rate > 0 && static_cast<double>(waiting.requests) / rate <= to_seconds(wake_time);
  return in_time ? std::nullopt : best;
}

}  // namespace sollol::routing
