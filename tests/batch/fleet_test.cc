#include "batch/fleet.h"

#include <gtest/gtest.h>

namespace sollol::batch {
namespace {

constexpr std::string_view told = R"({"nodes":[
 {"name":"a","state":"healthy","admin":"enabled","version":"0.33.0","paused":false,"models":[
   {"name":"llama3.2:latest","limit":2,"in_flight":1,"loaded":true,"decode_tokens_per_s":80}]},
 {"name":"b","state":"healthy","admin":"draining","version":"0.33.0","models":[
   {"name":"llama3.2:latest","limit":4}]},
 {"name":"c","state":"healthy","admin":"enabled","version":"0.33.0","models":[]},
 {"name":"d","state":"down","admin":"enabled","version":"","models":[
   {"name":"llama3.2:latest","limit":8}]}]})";

TEST(Fleet, CountsTheSlotsOfNodesThatTakeRequests) {
  const auto fleet = parse_fleet(told);
  ASSERT_TRUE(fleet.has_value());
  const std::string model = fleet->nodes[0].models[0].model;
  EXPECT_EQ(fleet->slots(model), 2u);
  EXPECT_EQ(fleet->owners(model), 1u);
  EXPECT_EQ(fleet->slots("none"), 0u);
  EXPECT_TRUE(fleet->nodes[0].find(model)->loaded);
  EXPECT_TRUE(fleet->known());
  EXPECT_FALSE(fleet->nodes[1].usable);
}

TEST(Fleet, IsNotKnownWhileANodeHasNotBeenAsked) {
  EXPECT_FALSE(parse_fleet(R"({"nodes":[{"name":"a","state":"unknown"}]})")->known());
  EXPECT_FALSE(parse_fleet(R"({"nodes":[{"name":"a","state":"healthy","version":""}]})")->known());
  EXPECT_TRUE(parse_fleet(R"({"nodes":[]})")->known());
}

TEST(Fleet, WhatIsNoAnswerIsAnError) {
  for (const std::string_view text : {"", "[]", "{}", R"({"nodes":7})"})
    EXPECT_FALSE(parse_fleet(text).has_value()) << text;
  EXPECT_FALSE(parse_advice("{}").has_value());
  EXPECT_FALSE(parse_decisions("nothing").has_value());
}

TEST(Fleet, OfSeveralAttemptsTheLastDecisionCounts) {
  const auto nodes = parse_decisions(R"({"decisions":[{"request_id":"1","node":"b","attempt":2},
      {"request_id":"1","node":"a","attempt":1},{"request_id":"2","node":"a"}]})");
  ASSERT_TRUE(nodes.has_value());
  EXPECT_EQ(nodes->at("1"), "b");
  EXPECT_EQ(nodes->at("2"), "a");
}

TEST(Advice, IsReadFromLocality) {
  const auto advice = parse_advice(R"({"parallel":true,"width":2,"reason":"two machines"})");
  ASSERT_TRUE(advice.has_value());
  EXPECT_TRUE(advice->parallel);
  EXPECT_EQ(advice->reason, "two machines");
}

}  // namespace
}  // namespace sollol::batch
