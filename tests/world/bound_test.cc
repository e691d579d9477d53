#include "world/bound.h"

#include <gtest/gtest.h>

namespace sollol::world {
namespace {

using std::chrono::seconds;

NodeSpec node(double decode, std::uint32_t slots = 1) {
  return {
      .models = {{.model = 0, .prefill_tokens_per_s = decode * 10, .decode_tokens_per_s = decode}},
      .slots = slots};
}

/// 100 tokens read and 90 written: a second at 100 tokens a second.
Request second_at_100() { return {.prompt_tokens = 100, .output_tokens = 90}; }

TEST(Bound, IsTheWorkOverTheSumOfSpeeds) {
  const Bound bound({.models = {{.name = "m"}}, .nodes = {node(100), node(300)}});
  const Workload tasks{.requests = std::vector<Request>(8, second_at_100()), .users = 8};
  EXPECT_DOUBLE_EQ(bound.makespan_s(tasks, std::vector<double>(8, 1.0)), 2);
  EXPECT_DOUBLE_EQ(bound.makespan_s(tasks, std::vector<double>(8, 1.5)), 3);
  EXPECT_DOUBLE_EQ(bound.capacity_per_s(tasks.requests), 4);
}

TEST(Bound, IsNotBelowOneRequestOnTheBestNode) {
  const Bound bound({.models = {{.name = "m"}}, .nodes = {node(100), node(300)}});
  Request late = second_at_100();
  late.at = seconds(7);
  const std::vector<double> exact{1, 1};
  EXPECT_DOUBLE_EQ(bound.alone_s(late), 1.0 / 3);
  EXPECT_DOUBLE_EQ(bound.makespan_s({.requests = {second_at_100(), late}}, exact), 7 + 1.0 / 3);
}

TEST(Bound, CountsWhatSlotsDoBesideEachOther) {
  NodeSpec two = node(100, 2);
  two.parallel_slowdown = 0.25;
  const Bound bound({.models = {{.name = "m"}}, .nodes = {two}});
  EXPECT_DOUBLE_EQ(bound.capacity_per_s({second_at_100()}), 1.6);
}

TEST(Bound, LeavesOutWhatACacheMayHold) {
  const Bound bound({.models = {{.name = "m"}}, .nodes = {node(100)}});
  Request turn = second_at_100();
  turn.said_before = 50;
  EXPECT_DOUBLE_EQ(bound.alone_s(turn), 0.95);
  turn.said_before = 100;  // the last token is always evaluated
  EXPECT_DOUBLE_EQ(bound.alone_s(turn), 0.901);
}

}  // namespace
}  // namespace sollol::world
