#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "routing/candidates.h"

namespace sollol::routing {
namespace {

using cluster::Availability;

rc::Gen<Candidate> any_candidate() {
  return rc::gen::exec([] {
    Candidate c{.node = NodeId{0}};
    c.tier = *rc::gen::inRange(0u, 3u);
    c.availability = static_cast<Availability>(*rc::gen::inRange(0, 7));
    c.excluded = *rc::gen::inRange(0, 5) == 0;
    c.wakeable = *rc::gen::arbitrary<bool>();
    c.limit = *rc::gen::inRange(1u, 4u);
    c.in_flight = *rc::gen::inRange(0u, c.limit + 2);
    c.node_in_flight = c.in_flight + *rc::gen::inRange(0u, 3u);
    c.warmth = static_cast<Warmth>(*rc::gen::inRange(0, 3));
    c.size_bytes = *rc::gen::element<std::uint64_t>(0, 500'000'000, 40'000'000'000);
    c.decode_tokens_per_s = *rc::gen::element(0.0, 0.01, 10.0, 500.0);
    c.prefill_tokens_per_s = *rc::gen::element(0.0, 1.0, 5000.0);
    c.load_s = *rc::gen::element(0.0, 3.0);
    c.service_s = *rc::gen::element(0.0, 0.001, 600.0);
    c.device_in_flight = *rc::gen::inRange(0u, 4u);
    c.machine_in_flight = *rc::gen::inRange(0u, 4u);
    c.foreign_slowdown = *rc::gen::element(1.0f, 1.5f, 5.0f);
    c.rtt_s = *rc::gen::element(0.0, 0.2);
    return c;
  });
}

struct Scene {
  std::vector<Candidate> candidates;
  Policy policy;
  RequestShape shape;
  std::uint64_t draw;
  std::optional<NodeId> after;

  Result<Choice> chosen() const {
    return choose(policy, candidates, shape, TimePoint{}, draw, after);
  }
};

Scene any_scene() {
  Scene scene;
  scene.candidates = *rc::gen::container<std::vector<Candidate>>(any_candidate());
  for (std::size_t i = 0; i < scene.candidates.size(); ++i) {
    scene.candidates[i].node =
        NodeId{static_cast<std::uint32_t>(i * 7919 % 104729)};  // distinct, in no order
  }
  scene.policy = *rc::gen::elementOf(all_policies);
  scene.shape = {*rc::gen::element(0.0, 1.0, 100000.0), *rc::gen::element(0.0, 1.0, 4000.0)};
  scene.draw = *rc::gen::arbitrary<std::uint64_t>();
  if (*rc::gen::arbitrary<bool>()) scene.after = NodeId{*rc::gen::inRange(0u, 20000u)};
  return scene;
}

bool serving(const Candidate& c) {
  return !c.excluded &&
         (c.availability == Availability::healthy || c.availability == Availability::trial);
}
bool doubtful(const Candidate& c) {
  return !c.excluded &&
         (c.availability == Availability::suspect || c.availability == Availability::unknown);
}
bool sleeps(const Candidate& c) {
  return !c.excluded && c.wakeable && c.availability == Availability::down;
}
bool has_room(const Candidate& c) { return c.in_flight < c.limit; }

RC_GTEST_PROP(AnyChoice, IsNeverExcludedOverItsLimitOrUnusable, ()) {
  const Scene scene = any_scene();
  const auto got = scene.chosen();
  RC_PRE(got.has_value());
  const Candidate& c = scene.candidates.at(got->index);
  RC_ASSERT(c.node == got->node);
  RC_ASSERT(has_room(c) && (serving(c) || doubtful(c)));
}

RC_GTEST_PROP(AnyChoice, IsOfTheBestTierThatIsFree, ()) {
  const Scene scene = any_scene();
  const auto got = scene.chosen();
  RC_PRE(got.has_value());
  const Candidate& chosen = scene.candidates.at(got->index);
  for (const Candidate& c : scene.candidates) {
    if (serving(c)) RC_ASSERT(serving(chosen));
    if (serving(c) && has_room(c)) RC_ASSERT(chosen.tier <= c.tier);
    if (!serving(chosen) && doubtful(c) && has_room(c)) RC_ASSERT(chosen.tier <= c.tier);
  }
}

RC_GTEST_PROP(AnyChoice, IsMadeWheneverAHealthyNodeIsFree, ()) {
  const Scene scene = any_scene();
  const auto got = scene.chosen();
  const bool free = std::ranges::any_of(scene.candidates,
                                        [](const auto& c) { return serving(c) && has_room(c); });
  const bool waits = std::ranges::any_of(
      scene.candidates, [](const auto& c) { return serving(c) || doubtful(c) || sleeps(c); });
  RC_ASSERT(!free || got.has_value());
  if (!got) RC_ASSERT((got.error().kind == ErrorKind::overloaded) == waits);
}

RC_GTEST_PROP(AnyChoice, IsATrialOnlyByLotOrForLackOfBetter, ()) {
  Scene scene = any_scene();
  for (Candidate& c : scene.candidates) {
    c.availability = *rc::gen::element(Availability::healthy, Availability::trial);
  }
  const auto got = scene.chosen();
  if (!got || scene.candidates.at(got->index).availability != Availability::trial) return;
  const std::uint32_t tier = scene.candidates[got->index].tier;
  const bool healthy_free = std::ranges::any_of(scene.candidates, [&](const Candidate& c) {
    return serving(c) && has_room(c) && c.tier == tier && c.availability == Availability::healthy;
  });
  RC_ASSERT(!healthy_free || scene.draw >> 61 == 0);
  RC_ASSERT(got->reason == Reason::on_trial);
}

RC_GTEST_PROP(AnyChoice, IsTheSameInAnyOrderOfCandidatesUnlessDrawn, ()) {
  Scene scene = any_scene();
  RC_PRE(scene.policy != Policy::random && scene.policy != Policy::power_of_two &&
         scene.policy != Policy::peak_ewma);
  const auto got = scene.chosen();
  std::ranges::reverse(scene.candidates);
  const auto reversed = scene.chosen();
  RC_ASSERT(got.has_value() == reversed.has_value());
  if (got) RC_ASSERT(got->node == reversed->node);
}

RC_GTEST_PROP(AnyChoice, HasAFiniteCost, ()) {
  const Scene scene = any_scene();
  const Priors priors = priors_of(scene.candidates);
  for (const Candidate& c : scene.candidates) {
    const double total = expected_completion(c, scene.shape, priors).total();
    RC_ASSERT(std::isfinite(total) && total >= 0);
  }
}

/// Of nodes that differ in nothing else, the one whose machine is quieter.
RC_GTEST_PROP(ChooseProperty, TheQuieterOfEqualsIsTaken, ()) {
  const auto policy = *rc::gen::element(Policy::expected_completion, Policy::least_connections);
  Candidate busy = node_of_speed(1, *rc::gen::element(1.0, 50.0, 300.0));
  busy.limit = *rc::gen::inRange(1u, 5u);
  Candidate quiet = busy;
  quiet.node = NodeId{2};
  busy.device_in_flight = *rc::gen::inRange(1u, 100u);
  busy.machine_in_flight = *rc::gen::inRange(0u, 100u);
  std::vector<Candidate> candidates{busy, quiet};
  if (*rc::gen::arbitrary<bool>()) std::swap(candidates[0], candidates[1]);
  const auto choice = choose(policy, candidates, chat, TimePoint{},
                             *rc::gen::arbitrary<std::uint64_t>(), NodeId{2});
  RC_ASSERT(choice.has_value());
  RC_ASSERT(choice->node == NodeId{2});
}

/// More work beside a node never makes it look cheaper.
RC_GTEST_PROP(ChooseProperty, NeighboursNeverMakeANodeCheaper, ()) {
  const Candidate c = *any_candidate();
  Candidate busier = c;
  busier.device_in_flight += *rc::gen::inRange(0u, 50u);
  busier.machine_in_flight += *rc::gen::inRange(0u, 50u);
  busier.foreign_slowdown *= *rc::gen::element(1.0f, 1.1f, 4.0f);
  const Priors priors{.prefill_tokens_per_s = 1000, .decode_tokens_per_s = 50};
  RC_ASSERT(expected_completion(busier, chat, priors).total() >=
            expected_completion(c, chat, priors).total());
}

}  // namespace
}  // namespace sollol::routing
