#include "routing/hedge.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <vector>

#include "routing/candidates.h"

namespace sollol::routing {
namespace {

using namespace std::chrono_literals;
using cluster::Availability;

constexpr FirstTry first{.tier = 1, .expected_s = 2, .late_factor = 1.5};

TEST(HedgeDelay, IsWhatIsUnusualAndNeverBelowTheLeast) {
  EXPECT_EQ(hedge_delay(first, 100ms), 3s);
  EXPECT_EQ(hedge_delay(first, 5s), 5s);
  EXPECT_EQ(hedge_delay({.expected_s = 1e9, .late_factor = 2}, 1s), 24h);
}

TEST(HedgeDelay, IsNoneWhereNothingIsKnown) {
  EXPECT_EQ(hedge_delay({.expected_s = 2, .late_factor = 0}, 100ms), std::nullopt);
  EXPECT_EQ(hedge_delay({.expected_s = 0, .late_factor = 2}, 100ms), std::nullopt);
}

Candidate with(Candidate c, auto change) {
  change(c);
  return c;
}
Candidate fast(std::uint32_t id) { return node_of_speed(id, 100); }
Candidate slow(std::uint32_t id) { return node_of_speed(id, 10); }

struct HedgeCase {
  const char* name;
  std::vector<Candidate> candidates;
  std::optional<std::size_t> want;
};
class HedgePlan : public testing::TestWithParam<HedgeCase> {};
TEST_P(HedgePlan, TakesTheNodeThatWouldBeDoneSoonest) {
  const auto hedge = choose_hedge(GetParam().candidates, chat, first);
  EXPECT_EQ(hedge ? std::optional(hedge->index) : std::nullopt, GetParam().want);
}
INSTANTIATE_TEST_SUITE_P(
    Table, HedgePlan,
    testing::Values(
        HedgeCase{"no_nodes", {}, std::nullopt},
        HedgeCase{"the_first_alone",
                  {with(fast(1), [](Candidate& c) { c.excluded = true; })},
                  std::nullopt},
        HedgeCase{"the_faster", {slow(1), fast(2)}, 1},
        HedgeCase{"not_a_cold_one",
                  {with(fast(1), [](Candidate& c) { c.warmth = Warmth::cold; }), slow(2)},
                  1},
        HedgeCase{"not_one_with_other_options",
                  {with(fast(1), [](Candidate& c) { c.warmth = Warmth::other_options; })},
                  std::nullopt},
        HedgeCase{"not_a_full_one",
                  {with(fast(1), [](Candidate& c) { c.in_flight = c.limit; }), slow(2)},
                  1},
        HedgeCase{"not_a_doubtful_one",
                  {with(fast(1), [](Candidate& c) { c.availability = Availability::suspect; }),
                   with(fast(2), [](Candidate& c) { c.availability = Availability::trial; })},
                  std::nullopt},
        HedgeCase{
            "not_a_worse_tier", {with(fast(1), [](Candidate& c) { c.tier = 2; })}, std::nullopt},
        HedgeCase{"a_better_tier_goes_first",
                  {with(fast(1), [](Candidate& c) { c.tier = 1; }), slow(2)},
                  1},
        HedgeCase{
            "another_machine_goes_first",
            {with(fast(1), [](Candidate& c) { c.nearness = Nearness::same_machine; }),
             with(fast(2), [](Candidate& c) { c.nearness = Nearness::same_device; }), slow(3)},
            2},
        HedgeCase{"another_device_where_there_is_no_other_machine",
                  {with(fast(1), [](Candidate& c) { c.nearness = Nearness::same_device; }),
                   with(slow(2), [](Candidate& c) { c.nearness = Nearness::same_machine; })},
                  1}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(HedgePlan, WaitsForASlowNodeUntilTheFirstIsAsLateAsThatWouldTake) {
  const std::vector<Candidate> candidates{slow(1)};
  const auto hedge = choose_hedge(candidates, chat, first);
  ASSERT_TRUE(hedge);
  const double cost_s = expected_completion(candidates[0], chat, priors_of(candidates)).total();
  EXPECT_DOUBLE_EQ(hedge->cost_s, cost_s);
  EXPECT_EQ(hedge->after, from_seconds(cost_s));
}

Candidate any_candidate(std::uint32_t id) {
  Candidate c = node(id);
  c.tier = *rc::gen::inRange(0u, 3u);
  c.availability = *rc::gen::element(Availability::healthy, Availability::suspect,
                                     Availability::down, Availability::trial);
  c.excluded = *rc::gen::inRange(0, 4) == 0;
  c.limit = *rc::gen::inRange(1u, 4u);
  c.in_flight = *rc::gen::inRange(0u, 5u);
  c.warmth = *rc::gen::element(Warmth::warm, Warmth::cold, Warmth::other_options);
  c.nearness = *rc::gen::element(Nearness::apart, Nearness::same_machine, Nearness::same_device);
  c.decode_tokens_per_s = *rc::gen::inRange(0, 200);
  c.prefill_tokens_per_s = *rc::gen::inRange(0, 4000);
  return c;
}

/// Only where the request could begin at once, and never where another such node is better by tier,
/// by nearness and by time.
RC_GTEST_PROP(HedgePlan, IsOnlyAtAFreeWarmHealthyNodeThatNoOtherBeats, ()) {
  std::vector<Candidate> candidates;
  const auto count = *rc::gen::inRange(0u, 8u);
  for (std::uint32_t id = 0; id < count; ++id) candidates.push_back(any_candidate(id));
  const auto usable = [](const Candidate& c) {
    return !c.excluded && c.availability == Availability::healthy && c.tier <= first.tier &&
           c.warmth == Warmth::warm && c.in_flight < c.limit;
  };
  const auto hedge = choose_hedge(candidates, chat, first);
  RC_ASSERT(hedge.has_value() == std::ranges::any_of(candidates, usable));
  if (!hedge) return;
  const Candidate& chosen = candidates[hedge->index];
  RC_ASSERT(usable(chosen));
  const Priors priors = priors_of(candidates);
  for (const Candidate& other : candidates) {
    if (!usable(other)) continue;
    RC_ASSERT(other.tier >= chosen.tier);
    if (other.tier > chosen.tier) continue;
    RC_ASSERT(other.nearness >= chosen.nearness);
    if (other.nearness > chosen.nearness) continue;
    RC_ASSERT(expected_completion(other, chat, priors).total() >= hedge->cost_s);
  }
}

}  // namespace
}  // namespace sollol::routing
