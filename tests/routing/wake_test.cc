#include "routing/wake.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <vector>

#include "routing/candidates.h"

namespace sollol::routing {
namespace {

using namespace std::chrono_literals;
using cluster::Availability;

constexpr Duration wake_time = 60s;

Candidate sleeper(std::uint32_t id, std::uint32_t tier = 0) {
  Candidate c = node(id);
  c.availability = Availability::down;
  c.wakeable = true;
  c.tier = tier;
  return c;
}

/// At its limit, with requests that take so long.
Candidate full(std::uint32_t id, double service_s, std::uint32_t tier = 0) {
  Candidate c = node(id);
  c.in_flight = c.limit;
  c.service_s = service_s;
  c.tier = tier;
  return c;
}

Candidate with(Candidate c, auto change) {
  change(c);
  return c;
}

struct WakeCase {
  const char* name;
  std::vector<Candidate> candidates;
  Waiting waiting;
  std::optional<std::size_t> want;
};
class Wake : public testing::TestWithParam<WakeCase> {};
TEST_P(Wake, TakesTheBestSleeperWhenNothingElseWillDoInTime) {
  EXPECT_EQ(choose_to_wake(GetParam().candidates, chat, GetParam().waiting, wake_time),
            GetParam().want);
}
INSTANTIATE_TEST_SUITE_P(
    Table, Wake,
    testing::Values(
        WakeCase{"no_nodes", {}, {}, std::nullopt}, WakeCase{"asleep_alone", {sleeper(1)}, {}, 0},
        WakeCase{"down_and_not_to_be_woken",
                 {with(sleeper(1), [](Candidate& c) { c.wakeable = false; })},
                 {},
                 std::nullopt},
        WakeCase{"drained_or_tried_already",
                 {with(sleeper(1), [](Candidate& c) { c.excluded = true; })},
                 {},
                 std::nullopt},
        WakeCase{"ejected_is_not_asleep",
                 {with(sleeper(1), [](Candidate& c) { c.availability = Availability::ejected; })},
                 {},
                 std::nullopt},
        WakeCase{"another_is_free_soon", {full(1, 10), sleeper(2)}, {}, std::nullopt},
        WakeCase{"another_is_not_free_in_time", {full(1, 100), sleeper(2)}, {}, 1},
        WakeCase{"a_long_queue_before_another", {full(1, 10), sleeper(2)}, {.requests = 7}, 1},
        WakeCase{"a_long_queue_before_three_others",
                 {full(1, 10), full(3, 10), full(4, 10), sleeper(2)},
                 {.requests = 7},
                 std::nullopt},
        WakeCase{"a_wait_longer_than_expected",
                 {full(1, 10), sleeper(2)},
                 {.requests = 1, .longest = 60s},
                 1},
        WakeCase{"a_better_tier_is_free_soon", {full(1, 10, 0), sleeper(2, 1)}, {}, std::nullopt},
        WakeCase{"a_better_tier_is_not_free_in_time", {full(1, 100, 0), sleeper(2, 1)}, {}, 1},
        WakeCase{"a_worse_tier_is_full", {full(1, 10, 1), sleeper(2, 0)}, {}, 1},
        WakeCase{"the_better_tier_of_two_sleepers", {sleeper(1, 2), sleeper(2, 1)}, {}, 1},
        WakeCase{"the_faster_of_two_sleepers",
                 {with(sleeper(1), [](Candidate& c) { c.decode_tokens_per_s = 5; }),
                  with(sleeper(2), [](Candidate& c) { c.decode_tokens_per_s = 50; })},
                 {},
                 1},
        WakeCase{"suspects_do_not_count",
                 {with(full(1, 10), [](Candidate& c) { c.availability = Availability::suspect; }),
                  sleeper(2)},
                 {},
                 1}),
    [](const auto& row) { return std::string(row.param.name); });

Candidate any_candidate(std::uint32_t id) {
  Candidate c{.node = NodeId{id}};
  c.tier = *rc::gen::inRange(0u, 3u);
  c.availability = static_cast<Availability>(*rc::gen::inRange(0, 7));
  c.excluded = *rc::gen::inRange(0, 5) == 0;
  c.wakeable = *rc::gen::arbitrary<bool>();
  c.limit = *rc::gen::inRange(1u, 4u);
  c.in_flight = *rc::gen::inRange(0u, c.limit + 1);
  c.service_s = *rc::gen::element(0.0, 0.001, 20.0, 600.0);
  c.decode_tokens_per_s = *rc::gen::element(0.0, 10.0, 500.0);
  c.size_bytes = *rc::gen::element<std::uint64_t>(0, 40'000'000'000);
  return c;
}

std::vector<Candidate> any_candidates() {
  std::vector<Candidate> candidates;
  for (std::uint32_t count = *rc::gen::inRange(0u, 9u); candidates.size() < count;)
    candidates.push_back(any_candidate(static_cast<std::uint32_t>(candidates.size())));
  return candidates;
}

Waiting any_waiting() {
  return {.requests = *rc::gen::inRange<std::size_t>(1, 50),
          .longest = std::chrono::seconds(*rc::gen::inRange(0, 120))};
}

RC_GTEST_PROP(AnyWake, IsOfASleeperOfTheBestTierThatHasOne, ()) {
  const auto candidates = any_candidates();
  const auto woken = choose_to_wake(candidates, chat, any_waiting(), wake_time);
  if (!woken) return;
  const Candidate& chosen = candidates.at(*woken);
  RC_ASSERT(chosen.wakeable && !chosen.excluded && chosen.availability == Availability::down);
  for (const Candidate& c : candidates) {
    if (c.wakeable && !c.excluded && c.availability == Availability::down)
      RC_ASSERT(chosen.tier <= c.tier);
  }
}

RC_GTEST_PROP(AnyWake, ComesTheMoreTheLongerTheQueueAndTheWait, ()) {
  const auto candidates = any_candidates();
  const Waiting shorter = any_waiting();
  const Waiting longer{.requests = shorter.requests + 1, .longest = shorter.longest + 1s};
  const auto before = choose_to_wake(candidates, chat, shorter, wake_time);
  if (before) RC_ASSERT(choose_to_wake(candidates, chat, longer, wake_time) == before);
}

RC_GTEST_PROP(AnyWake, ComesWhenNobodyOfItsTierOrABetterOneServes, ()) {
  auto candidates = any_candidates();
  candidates.push_back(sleeper(99, *rc::gen::inRange(0u, 3u)));
  std::uint32_t tier = candidates.back().tier;
  for (const Candidate& c : candidates) {
    if (asleep(c)) tier = std::min(tier, c.tier);
  }
  for (Candidate& c : candidates) {
    if (can_serve(c) && c.tier <= tier) c.excluded = true;
  }
  RC_ASSERT(choose_to_wake(candidates, chat, any_waiting(), wake_time).has_value());
}

}  // namespace
}  // namespace sollol::routing
