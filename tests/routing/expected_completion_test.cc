#include <gtest/gtest.h>

#include <vector>

#include "routing/candidates.h"

namespace sollol::routing {
namespace {

constexpr Priors priors{.prefill_tokens_per_s = 1000, .decode_tokens_per_s = 50};

Cost cost_of(const Candidate& c, RequestShape shape = chat) {
  return expected_completion(c, shape, priors);
}

TEST(ExpectedCompletion, IsPrefillAndDecodeAtTheMeasuredRates) {
  Candidate c = node_of_speed(1, 10);
  c.rtt_s = 0.5;
  const Cost cost = cost_of(c);
  EXPECT_TRUE(cost.known);
  EXPECT_DOUBLE_EQ(cost.prefill_s, 1);
  EXPECT_DOUBLE_EQ(cost.decode_s, 10);
  EXPECT_DOUBLE_EQ(cost.network_s, 0.5);
  EXPECT_DOUBLE_EQ(cost.total(), 11.5);
}

TEST(ExpectedCompletion, UsesThePriorsForWhatIsNotMeasured) {
  const Cost cost = cost_of(node(1));
  EXPECT_FALSE(cost.known);
  EXPECT_DOUBLE_EQ(cost.prefill_s, 0.2);
  EXPECT_DOUBLE_EQ(cost.decode_s, 2);
}

TEST(ExpectedCompletion, OurOwnDispatchesCountAtOnce) {
  Candidate c = node_of_speed(1, 10);
  const double alone = cost_of(c).total();
  c.node_in_flight = 1;
  EXPECT_GT(cost_of(c).total(), alone);
  c.in_flight = 1;  // and at its limit
  EXPECT_GT(cost_of(c).wait_s, 0);
}

TEST(ExpectedCompletion, WaitsLongerTheMoreAreBeforeIt) {
  Candidate c = node_of_speed(1, 10);
  c.limit = 2;
  double before = 0;
  for (c.in_flight = 2; c.in_flight < 6; ++c.in_flight) {
    EXPECT_GT(cost_of(c).wait_s, before);
    before = cost_of(c).wait_s;
  }
}

TEST(ExpectedCompletion, WaitsForTheEndThatIsKnown) {
  Candidate c = node_of_speed(1, 10);
  c.in_flight = c.limit = 1;
  c.service_s = 12;
  c.left_doubt = 0;
  c.left_s = 3;
  EXPECT_DOUBLE_EQ(cost_of(c).wait_s, 3);
  c.left_s = -1;  // it is late, and may end at any moment
  EXPECT_DOUBLE_EQ(cost_of(c).wait_s, 0);
  c.left_doubt = 1;  // or it is longer than expected
  EXPECT_DOUBLE_EQ(cost_of(c).wait_s, 6);
  c.awaited_s = 20;
  EXPECT_DOUBLE_EQ(cost_of(c).wait_s, 26);
}

TEST(ExpectedCompletion, TheFirstOfSeveralPlacesComesFreeSooner) {
  Candidate c = node_of_speed(1, 10);
  c.service_s = 12;
  c.left_s = 6;
  c.left_doubt = 0;
  c.in_flight = c.limit = 3;
  EXPECT_DOUBLE_EQ(cost_of(c).wait_s, 3);
}

TEST(ExpectedCompletion, AColdModelCostsItsLoad) {
  Candidate c = node_of_speed(1, 10);
  c.warmth = Warmth::cold;
  c.size_bytes = 8'000'000'000;
  EXPECT_DOUBLE_EQ(cost_of(c).load_s, 8);
  c.load_s = 3;  // measured
  EXPECT_DOUBLE_EQ(cost_of(c).load_s, 3);
  c.warmth = Warmth::warm;
  EXPECT_DOUBLE_EQ(cost_of(c).load_s, 0);
}

TEST(ExpectedCompletion, AReloadWaitsForWhatRuns) {
  Candidate c = node_of_speed(1, 10);
  c.warmth = Warmth::other_options;
  c.load_s = 3;
  c.in_flight = 2;
  c.limit = 4;
  EXPECT_GT(cost_of(c).load_s, 3 + 2 * 11.0 - 0.001);
}

TEST(ExpectedCompletion, AReloadCountsTheReloadsThatFollowWhileItsOthersAreWanted) {
  Candidate c = node_of_speed(1, 10);
  c.warmth = Warmth::other_options;
  c.load_s = 3;
  const double wanted = cost_of(c).evict_s;
  EXPECT_GT(wanted, 3 * c.load_s);
  c.unused_s = 30;
  EXPECT_DOUBLE_EQ(cost_of(c).evict_s, wanted);
  c.unused_s = 3600;
  EXPECT_LT(cost_of(c).evict_s, c.load_s);
}

TEST(ExpectedCompletion, WhoFindsALoadWithOtherOptionsWaitsForItAndForItsOwn) {
  Candidate c = node_of_speed(1, 10);
  c.warmth = Warmth::other_options;
  c.load_s = 5;
  c.loading_for_s = 2;
  EXPECT_DOUBLE_EQ(cost_of(c).load_s, 3 + 5);
}

TEST(ExpectedCompletion, WholeRequestsStandInWhereAnApiReportsNoRates) {
  Candidate c = node(1);
  c.service_s = 7;
  EXPECT_TRUE(cost_of(c).known);
  EXPECT_DOUBLE_EQ(cost_of(c).total(), 7);
  Candidate slower = node(2);
  slower.service_s = 14;
  const std::vector<Candidate> candidates{slower, c};
  EXPECT_EQ(choose(Policy::expected_completion, candidates, chat, TimePoint{}, no_trial, {})->node,
            NodeId{1});
}

TEST(ExpectedCompletion, AnUnknownNodeIsNoWorseThanTheBestKnownOne) {
  Candidate known = node(1);
  known.service_s = 1;
  const std::vector<Candidate> candidates{known, node(2)};
  const auto got = choose(Policy::expected_completion, candidates, chat, TimePoint{}, no_trial, {});
  EXPECT_EQ(got->node, NodeId{2});
  EXPECT_EQ(got->reason, Reason::exploring);
}

TEST(ExpectedCompletion, ShortRequestsElsewhereDoNotBoundAGuess) {
  Candidate known = node_of_speed(1, 10);
  known.service_s = 0.1;
  Candidate unmeasured = node(2);
  unmeasured.decode_prior = 5;
  unmeasured.prefill_prior = 100;
  const RequestShape essay{.prompt_tokens = 200, .expected_tokens = 1000};
  const Cost cost =
      expected_completion(unmeasured, essay, priors_of(std::vector<Candidate>{known, unmeasured}));
  EXPECT_FALSE(cost.known);
  EXPECT_DOUBLE_EQ(cost.prefill_s, 2);
  EXPECT_DOUBLE_EQ(cost.decode_s, 200);
}

TEST(ExpectedCompletion, ALoadIsGuessedByTheNodesOtherLoads) {
  Candidate c = node_of_speed(1, 10);
  c.warmth = Warmth::cold;
  c.size_bytes = 4'000'000'000;
  const double by_size = cost_of(c).load_s;
  c.load_prior_s = 40;
  EXPECT_DOUBLE_EQ(cost_of(c).load_s, 40);
  c.load_s = 3;
  EXPECT_DOUBLE_EQ(cost_of(c).load_s, 3);
  EXPECT_NE(by_size, 40);
}

TEST(ExpectedCompletion, AnEmbeddingNeedsThePrefillRateOnly) {
  Candidate c = node(1);
  c.prefill_tokens_per_s = 100;
  c.service_s = 60;
  const Cost cost = cost_of(c, {.prompt_tokens = 200, .expected_tokens = 0});
  EXPECT_TRUE(cost.known);
  EXPECT_DOUBLE_EQ(cost.total(), 2);
}

TEST(Priors, AreTheBestOfTheMeasured) {
  const std::vector<Candidate> candidates{node_of_speed(1, 10), node_of_speed(2, 100), node(3)};
  EXPECT_DOUBLE_EQ(priors_of(candidates).decode_tokens_per_s, 100);
  EXPECT_DOUBLE_EQ(priors_of(candidates).prefill_tokens_per_s, 2000);
}

TEST(Priors, AreGuessedFromTheSizeWhenNothingIsMeasured) {
  std::vector<Candidate> candidates{node(1)};
  const double unknown_size = priors_of(candidates).decode_tokens_per_s;
  candidates[0].size_bytes = 2'000'000'000;
  const double small = priors_of(candidates).decode_tokens_per_s;
  candidates[0].size_bytes = 40'000'000'000;
  const double large = priors_of(candidates).decode_tokens_per_s;
  EXPECT_GT(unknown_size, 0);
  EXPECT_DOUBLE_EQ(small / large, 20);
  EXPECT_GT(priors_of(candidates).prefill_tokens_per_s, large);
}

TEST(ExpectedCompletion, WorkOnTheSameDeviceCostsMoreThanOnAnotherOfTheMachine) {
  Candidate c = node_of_speed(1, 10);
  const Cost alone = cost_of(c);
  c.machine_in_flight = 1;
  const Cost beside_machine = cost_of(c);
  c.machine_in_flight = 0;
  c.device_in_flight = 1;
  const Cost beside_device = cost_of(c);
  EXPECT_GT(beside_machine.total(), alone.total());
  EXPECT_LT(beside_machine.total(), 1.1 * alone.total());
  EXPECT_DOUBLE_EQ(beside_device.decode_s, 2 * alone.decode_s);  // they take turns
  EXPECT_DOUBLE_EQ(beside_device.prefill_s, 2 * alone.prefill_s);
}

TEST(ExpectedCompletion, WhatANeighbourCostsIsAsMeasuredThere) {
  Candidate c = node_of_speed(1, 10);
  const Cost alone = cost_of(c);
  c.device_in_flight = 2;
  c.device_share = 0.3;
  EXPECT_DOUBLE_EQ(cost_of(c).decode_s, 1.6 * alone.decode_s);
}

/// So two that meet on a device lose what it takes to run one after the other, and no more.
TEST(ExpectedCompletion, WhatOthersLoseByIsAsMuchAsItLosesByThem) {
  Candidate c = node_of_speed(1, 10);
  const Cost alone = cost_of(c);
  EXPECT_EQ(alone.crowd_s, 0);
  c.limit = 4;
  c.in_flight = c.node_in_flight = 2;
  c.device_in_flight = 3;
  const Cost crowded = cost_of(c);
  EXPECT_DOUBLE_EQ(crowded.crowd_s, crowded.own_s() - alone.own_s());
  EXPECT_DOUBLE_EQ(crowded.total(), crowded.own_s() + crowded.crowd_s);
}

TEST(ExpectedCompletion, WhoWaitsForAPlaceFindsOneLessBesideIt) {
  Candidate c = node_of_speed(1, 10);
  c.limit = c.in_flight = c.node_in_flight = 1;
  EXPECT_DOUBLE_EQ(cost_of(c).decode_s, 10);
  EXPECT_EQ(cost_of(c).crowd_s, 0);
}

TEST(ExpectedCompletion, ForeignWorkMultipliesWhatANodeNeeds) {
  Candidate c = node_of_speed(1, 10);
  c.rtt_s = 0.5;
  const Cost alone = cost_of(c);
  c.foreign_slowdown = 2.5;
  const Cost beside = cost_of(c);
  EXPECT_DOUBLE_EQ(beside.decode_s, 2.5 * alone.decode_s);
  EXPECT_DOUBLE_EQ(beside.prefill_s, 2.5 * alone.prefill_s);
  EXPECT_DOUBLE_EQ(beside.network_s, alone.network_s);
}

TEST(ExpectedCompletion, IsExplainedWithWhatSlowsANode) {
  std::vector<Candidate> candidates{node_of_speed(1, 10), node_of_speed(2, 10)};
  candidates[0].device_in_flight = 3;
  candidates[0].foreign_slowdown = 1.5;
  const auto choice =
      choose(Policy::expected_completion, candidates, chat, TimePoint{}, no_trial, std::nullopt);
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->node, NodeId{2});
  const std::string text = explain(candidates, chat, Policy::expected_completion, *choice);
  EXPECT_NE(text.find("its device has 3 requests of other nodes"), std::string::npos) << text;
  EXPECT_NE(text.find("other programs make it 1.50 times as slow"), std::string::npos) << text;
}

}  // namespace
}  // namespace sollol::routing
