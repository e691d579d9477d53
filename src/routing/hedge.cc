#include "routing/hedge.h"

#include <algorithm>
#include <tuple>

#include "routing/policy.h"

namespace sollol::routing {

namespace {

/// Longer than any request lasts: what is expected may be infinite.
constexpr double longest_s = 86400;

Duration bounded(double seconds) noexcept { return from_seconds(std::min(seconds, longest_s)); }

bool may_be_second(const Candidate& c, const FirstTry& first) noexcept {
  return !c.excluded && c.availability == cluster::Availability::healthy && c.tier <= first.tier &&
         c.warmth == Warmth::warm && c.in_flight < c.limit;
}

}  // namespace

std::optional<Duration> hedge_delay(const FirstTry& first, Duration least) noexcept {
  const double late_s = first.expected_s * first.late_factor;
  if (!(late_s > 0)) return std::nullopt;
  return std::max(least, bounded(late_s));
}

std::optional<Hedge> choose_hedge(std::span<const Candidate> candidates, const RequestShape& shape,
                                  const FirstTry& first) {
  const Priors priors = priors_of(candidates);
  std::optional<Hedge> best;
  const auto rank = [&](const Hedge& hedge) {
    const Candidate& c = candidates[hedge.index];
    return std::tuple(c.tier, c.nearness, hedge.cost_s);
  };
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (!may_be_second(candidates[i], first)) continue;
    const double cost_s = expected_completion(candidates[i], shape, priors).own_s();
    const Hedge hedge{.index = i, .cost_s = cost_s, .after = bounded(cost_s)};
    if (!best || rank(hedge) < rank(*best)) best = hedge;
  }
  return best;
}

}  // namespace sollol::routing
