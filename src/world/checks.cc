#include "world/checks.h"

#include <fmt/format.h>

#include <algorithm>

namespace sollol::world {

using cluster::Availability;
using routing::Candidate;

namespace {

constexpr std::size_t broken_max = 10;  // told of

}  // namespace

void Checks::chosen(std::span<const Candidate> candidates, const routing::Choice& choice) {
  const Candidate& c = candidates[choice.index];
  const bool good = routing::can_serve(c);
  const bool doubtful =
      c.availability == Availability::suspect || c.availability == Availability::unknown;
  if (c.excluded || (!good && !doubtful))
    fail(fmt::format("node {} was chosen, which is excluded or {}", c.node.value(),
                     cluster::text(c.availability)));
  if (c.in_flight >= c.limit)
    fail(fmt::format("node {} was chosen, which has no room", c.node.value()));
  for (const Candidate& other : candidates) {
    if (!routing::can_serve(other)) continue;
    if (!good)
      fail(fmt::format("node {} was chosen as the last resort beside node {}, which is well",
                       c.node.value(), other.node.value()));
    if (good && other.tier < c.tier && other.in_flight < other.limit)
      fail(fmt::format("node {} of tier {} was chosen while node {} of tier {} has room",
                       c.node.value(), c.tier, other.node.value(), other.tier));
  }
}

void Checks::hedged(const Candidate& second, const routing::FirstTry& first) {
  const bool fit = !second.excluded && second.availability == Availability::healthy &&
                   second.warmth == routing::Warmth::warm && second.in_flight < second.limit;
  if (!fit || second.tier > first.tier)
    fail(
        fmt::format("node {} of tier {} was asked beside one of tier {}, and is excluded, not "
                    "healthy, not warm or full",
                    second.node.value(), second.tier, first.tier));
  ++hedges_;
  const std::uint64_t most = static_cast<std::uint64_t>(cluster::RetryBudget::reserve_default) +
                             hedgeable_ * hedge_percent_ / 100;
  if (hedges_ > most)
    fail(fmt::format("{} second tries, of {} that {} requests allow", hedges_, most, hedgeable_));
}

void Checks::entered(std::size_t node, const cluster::NodeLive& live,
                     const cluster::ReplicaLive& replica, std::uint32_t limit) {
  ++in_flight_[node];
  if (replica.in_flight > limit)
    fail(fmt::format("node {}: {} in flight, above the limit of {}", node, replica.in_flight.load(),
                     limit));
  if (live.in_flight != in_flight_[node])
    fail(fmt::format("node {}: {} counted in flight, {} are", node, live.in_flight.load(),
                     in_flight_[node]));
}

void Checks::left(std::size_t node, const cluster::NodeLive& live) {
  --in_flight_[node];
  if (live.in_flight != in_flight_[node])
    fail(fmt::format("node {}: {} counted in flight, {} are", node, live.in_flight.load(),
                     in_flight_[node]));
}

void Checks::load_planned(std::size_t node, std::size_t beside) {
  if (beside > 0) fail(fmt::format("node {}: a load was planned beside {}", node, beside));
}

void Checks::granted(ModelId model, cluster::Urgency urgency) {
  Lane& lane = lanes_[model];
  --lane.waiting[index(urgency)];
  lane.passed[index(urgency)] = 0;
  for (std::size_t i = 0; i < cluster::urgency_count; ++i) {
    if (i == index(urgency)) continue;
    lane.passed[i] = lane.waiting[i] > 0 ? lane.passed[i] + 1 : 0;
    passed_over_most_ = std::max(passed_over_most_, lane.passed[i]);
  }
}

void Checks::gave_up(ModelId model, cluster::Urgency urgency) {
  --lanes_[model].waiting[index(urgency)];
}

void Checks::ended(std::size_t request) {
  if (++ends_[request] > 1) fail(fmt::format("request {} ended twice", request));
}

void Checks::finished(std::uint64_t in_flight, std::size_t waiting) {
  if (in_flight > 0) fail(fmt::format("{} are in flight at the end", in_flight));
  if (waiting > 0) fail(fmt::format("{} wait at the end", waiting));
  const auto lost = std::ranges::count(ends_, 0);
  if (lost > 0) fail(fmt::format("{} requests never ended", lost));
}

void Checks::fail(std::string what) {
  if (broken_.size() < broken_max) broken_.push_back(std::move(what));
}

}  // namespace sollol::world
