// A request holds out for a full node that will have finished it sooner than a free one.
#include <gtest/gtest.h>

#include "routing/candidates.h"
#include "routing/policy.h"

namespace sollol::routing {
namespace {

constexpr RequestShape patient{.prompt_tokens = 200, .expected_tokens = 100, .may_wait = true};

Candidate full(Candidate c) {
  c.in_flight = c.node_in_flight = c.limit;
  c.service_s = 100 / c.decode_tokens_per_s;
  return c;
}

Result<Choice> choose_among(std::vector<Candidate> candidates, const RequestShape& shape) {
  return choose(Policy::expected_completion, candidates, shape, {}, no_trial, std::nullopt);
}

TEST(WorthWaiting, AFullFastNodeBeatsAFreeSlowOne) {
  const auto got = choose_among({full(node_of_speed(1, 100)), node_of_speed(2, 10)}, patient);
  ASSERT_TRUE(got.has_value());
  EXPECT_FALSE(got->now);
  EXPECT_EQ(got->node, NodeId{1});
  EXPECT_EQ(got->reason, Reason::worth_waiting);
}

TEST(WorthWaiting, OnlyForWhoMayWait) {
  const auto got = choose_among({full(node_of_speed(1, 100)), node_of_speed(2, 10)}, chat);
  ASSERT_TRUE(got.has_value());
  EXPECT_TRUE(got->now);
  EXPECT_EQ(got->node, NodeId{2});
}

TEST(WorthWaiting, NotWhereTheGainIsSmall) {
  const auto got = choose_among({full(node_of_speed(1, 20)), node_of_speed(2, 10)}, patient);
  ASSERT_TRUE(got.has_value());
  EXPECT_TRUE(got->now);
}

TEST(WorthWaiting, NotBehindManyWhoWaitThere) {
  Candidate fast = full(node_of_speed(1, 100));
  fast.awaited_s = 20;
  const auto got = choose_among({fast, node_of_speed(2, 10)}, patient);
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->node, NodeId{2});
}

TEST(WorthWaiting, NotLongerThanTheFreeNodeWouldHaveTaken) {
  RequestShape waited = patient;
  waited.waited_s = 30;
  const auto got = choose_among({full(node_of_speed(1, 100)), node_of_speed(2, 10)}, waited);
  ASSERT_TRUE(got.has_value());
  EXPECT_TRUE(got->now);
}

TEST(WorthWaiting, NeverForAnotherTiersNode) {
  Candidate fast = full(node_of_speed(1, 100));
  Candidate slow = node_of_speed(2, 10);
  slow.tier = 1;
  const auto got = choose_among({fast, slow}, patient);
  ASSERT_TRUE(got.has_value());
  EXPECT_TRUE(got->now);
  EXPECT_EQ(got->reason, Reason::spilled);
}

TEST(WorthWaiting, AnUnknownFreeNodeIsTried) {
  const auto got = choose_among({full(node_of_speed(1, 100)), node(2)}, patient);
  ASSERT_TRUE(got.has_value());
  EXPECT_TRUE(got->now);
  EXPECT_EQ(got->node, NodeId{2});
}

TEST(WorthWaiting, AWarmPromptCacheMayBeWorthTheWait) {
  RequestShape long_prompt{.prompt_tokens = 20'000, .expected_tokens = 10, .may_wait = true};
  Candidate mine = full(node_of_speed(1, 50));
  mine.cached_tokens = 19'900;
  const auto got = choose_among({mine, node_of_speed(2, 50)}, long_prompt);
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->node, NodeId{1});
  EXPECT_FALSE(got->now);
  long_prompt.prompt_tokens = mine.cached_tokens = 100;
  const auto brief = choose_among({mine, node_of_speed(2, 50)}, long_prompt);
  ASSERT_TRUE(brief.has_value());
  EXPECT_EQ(brief->node, NodeId{2});
}

}  // namespace
}  // namespace sollol::routing
